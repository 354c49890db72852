"""Whether the voxel sizes of a file can be true."""

from CMRSimExtension.scanner.geometry import ImageGrid

_LONGEST_STACK_OF_UNIT_VOXELS = 40
"""Slices. A heart is longer than 40 mm: a stack of fewer slices of exactly 1 mm has lost its true voxel sizes."""


def spacing_is_plausible(grid: ImageGrid) -> bool:
    """False for the header that lost its voxel sizes: a short stack of cubes of exactly 1 mm (M&Ms as published)."""
    unit = all(abs(side - 1.0) < 1e-6 for side in grid.spacing_mm)
    return not (unit and grid.shape[0] < _LONGEST_STACK_OF_UNIT_VOXELS)
