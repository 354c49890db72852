"""Folding over: what a field of view smaller than the body does, exactly."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid


def widen(grid: ImageGrid, phase_direction: str, pixels: int) -> ImageGrid:
    """`grid` with `pixels` more on both ends of the phase direction: what a narrow field of view folds in.

    Objects are sampled on it and then handed to `fold`.
    """
    if pixels < 0:
        raise InputError(f"pixels is {pixels}; it must not be negative")
    affine = np.array(grid.affine_ras)
    slices, rows, columns = grid.shape
    axis = 1 if phase_direction == "rows" else 0
    affine[:3, 3] -= pixels * affine[:3, axis]
    shape = (slices, rows + 2 * pixels, columns) if axis == 1 else (slices, rows, columns + 2 * pixels)
    return ImageGrid(affine, shape, grid.slice_thickness_mm)


def fold(objects: NDArray[Any], phase_direction: str, pixels: int) -> NDArray[Any]:
    """Objects (..., rows, columns) of a widened grid as a narrow field of view sees them: what sticks out wraps around.

    Exact: k-space samples 1/FOV apart see the sum over all shifts by the field of view.

    Parameters
    ----------
    pixels
        How many were added on both ends (times the oversampling of the object, where it is finer).
    """
    axis = -2 if phase_direction == "rows" else -1
    kept = objects.shape[axis] - 2 * pixels
    if kept < 1:
        raise InputError(f"{objects.shape[axis]} samples less {pixels} on both ends leave nothing; fold fewer")
    along = np.moveaxis(objects, axis, 0)
    folded = np.zeros((kept, *along.shape[1:]), dtype=objects.dtype)
    place = (np.arange(len(along)) - pixels) % kept
    np.add.at(folded, place, along)
    return np.moveaxis(folded, 0, axis)


def fold_adjoint(folded: NDArray[Any], phase_direction: str, pixels: int) -> NDArray[Any]:
    """The adjoint of `fold`: the folded image, repeated over what sticks out."""
    axis = -2 if phase_direction == "rows" else -1
    kept = folded.shape[axis]
    return np.take(folded, (np.arange(kept + 2 * pixels) - pixels) % kept, axis=axis)
