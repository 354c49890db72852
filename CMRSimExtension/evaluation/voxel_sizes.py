"""Whether the voxel sizes of a file can be true."""

from collections.abc import Sequence

from CMRSimExtension.scanner.geometry import ImageGrid

_LONGEST_STACK_OF_UNIT_VOXELS = 40
"""Slices. A heart is longer than 40 mm: a stack of fewer slices of exactly 1 mm has lost its true voxel sizes."""

PIXEL_MM, SLICE_MM = (0.3, 6.0), (0.3, 60.0)
"""Sizes of pixels and distances of slices that images of hearts have, with a margin."""


def spacing_is_plausible(grid: ImageGrid) -> bool:
    """False for a header that lost its voxel sizes, a short stack of cubes of exactly 1 mm (M&Ms as published), and for
    one that gives sizes which no image of a heart has (another unit of length, say)."""
    if not pixels_are_plausible(grid.spacing_mm[:2]):
        return False
    # One slice has no distance to another.
    if grid.shape[0] > 1 and not SLICE_MM[0] <= grid.spacing_mm[2] <= SLICE_MM[1]:
        return False
    unit = all(abs(side - 1.0) < 1e-6 for side in grid.spacing_mm)
    return not (unit and grid.shape[0] < _LONGEST_STACK_OF_UNIT_VOXELS)


def pixels_are_plausible(sides_mm: Sequence[float]) -> bool:
    """Whether pixels of an image of a heart can have these sides."""
    return all(PIXEL_MM[0] <= side <= PIXEL_MM[1] for side in sides_mm)
