"""Folding over: what a field of view smaller than the body does, exactly."""

from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, on_device_of
from CMRSimExtension.scanner.geometry import ImageGrid

BODY_MM = 600.0
"""Length of the phase direction beyond which nothing of a body lies: shoulders and arms of a large man are narrower."""


def margin_of_body(pixels: int, pixel_mm: float) -> int:
    """Pixels by which a body may stick out on both ends of a field of view of `pixels` pixels of `pixel_mm`."""
    return max(0, int(np.ceil(0.5 * (BODY_MM / pixel_mm - pixels))))


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


def crop(values: Any, phase_direction: str, pixels: int) -> Any:
    """Values (..., rows, columns) of a widened grid within the field of view: what folds into it is no part of them."""
    if not pixels:
        return values
    kept = slice(pixels, -pixels)
    return values[..., kept, :] if phase_direction == "rows" else values[..., kept]


def fold(objects: Any, phase_direction: str, pixels: int) -> Any:
    """Objects (..., rows, columns) of a widened grid as a narrow field of view sees them: what sticks out wraps around.

    Exact: k-space samples 1/FOV apart see the sum over all shifts by the field of view. NumPy or torch, differentiably.

    Parameters
    ----------
    pixels
        How many were added on both ends (times the oversampling of the object, where it is finer).
    """
    axis = -2 if phase_direction == "rows" else -1
    kept = objects.shape[axis] - 2 * pixels
    if kept < 1:
        raise InputError(f"{objects.shape[axis]} samples less {pixels} on both ends leave nothing; fold fewer")
    xp = array_namespace(objects)
    along = xp.moveaxis(objects, axis, 0)
    # Whole fields of view beside each other, the object's own among them, with zeros where the object ends.
    fields = 1 + 2 * -(-pixels // kept)
    border = ((fields - 1) * kept // 2 - pixels, *along.shape[1:])
    zeros = xp.zeros(border, dtype=along.dtype, **on_device_of(along))
    whole = xp.reshape(xp.concat([zeros, along, zeros], axis=0), (fields, kept, *along.shape[1:]))
    return xp.moveaxis(xp.sum(whole, axis=0, dtype=along.dtype), 0, axis)


def fold_adjoint(folded: Any, phase_direction: str, pixels: int) -> Any:
    """The adjoint of `fold`: the folded image, repeated over what sticks out."""
    axis = -2 if phase_direction == "rows" else -1
    kept = folded.shape[axis]
    place = (np.arange(kept + 2 * pixels) - pixels) % kept
    return array_namespace(folded).take(folded, beside(place, folded), axis=axis)
