"""How networks learn: streams of simulated slices, labelled folders, losses, augmentation, the training run.

Importing this package costs nothing; each module imports torch itself.
"""
