"""How good a segmentation is, and what heart function it gives.

Importing this package costs nothing; MONAI is imported only where a surface distance is asked for.
"""
