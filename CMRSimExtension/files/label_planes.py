"""Labels plane by plane, each with its own place in space: how segmentations that keep only what they label are put on
the grid of an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid

SAME_PLACE_MM = 0.1
"""Grids whose corners differ by less are the same one, written by programs that round differently."""


@dataclass(frozen=True)
class LabelPlane:
    """The pixels of one segment in one plane.

    Attributes
    ----------
    label
        This library's number of the segment.
    mask
        (rows, columns) bool.
    affine_ras
        (4, 4): (column, row, slice, 1) to RAS mm; its third axis is as long as slices are apart, or thick where that is
        not known.
    apart_mm
        Distance of neighbouring slices; None where the file does not say it.
    """

    label: int
    mask: NDArray[np.bool_]
    affine_ras: NDArray[np.float64]
    apart_mm: float | None = None


def planes_of(labels: NDArray[np.uint8], grid: ImageGrid) -> list[LabelPlane]:
    """The planes of (slices, rows, columns) labels, one for each label in each slice."""
    planes = []
    for index, values in enumerate(labels):
        affine = grid.affine_ras.copy()
        affine[:3, 3] += index * affine[:3, 2]
        planes += [
            LabelPlane(int(label), values == label, affine, grid.spacing_mm[2]) for label in np.unique(values) if label
        ]
    return planes


def grid_of_planes(planes: Sequence[LabelPlane]) -> ImageGrid:
    """The smallest grid along the first of `planes` that holds all of them.

    Slices are as far apart as a plane says, else as the closest two planes are, else as thick as the first. Whether all
    planes lie on voxels of the grid is found out when they are put on it (`on_grid`).
    """
    first = planes[0].affine_ras
    normal = np.cross(first[:3, 0], first[:3, 1])
    normal *= np.sign(normal @ first[:3, 2]) / np.linalg.norm(normal)
    heights = np.unique(np.round([plane.affine_ras[:3, 3] @ normal for plane in planes], 3))
    gaps = [float(gap) for gap in np.diff(heights) if gap > SAME_PLACE_MM]
    known = [plane.apart_mm for plane in planes if plane.apart_mm is not None]
    step = known[0] if known else min(gaps, default=float(np.linalg.norm(first[:3, 2])))
    affine = first.copy()
    affine[:3, 2] = normal * step
    inverse = np.linalg.inv(affine)
    corners = []
    for plane in planes:
        rows, columns = plane.mask.shape
        own = np.array([[i, j, 0.0, 1.0] for i in (0, columns - 1) for j in (0, rows - 1)]).T
        corners.append(np.round((inverse @ plane.affine_ras @ own)[:3]).astype(int))
    reached = np.concatenate(corners, axis=1)
    lowest, highest = reached.min(axis=1), reached.max(axis=1)
    affine[:3, 3] += affine[:3, :3] @ lowest
    columns, rows, slices = (int(n) for n in highest - lowest + 1)
    return ImageGrid(affine, (slices, rows, columns), step)


def on_grid(planes: Sequence[LabelPlane], grid: ImageGrid, name: str) -> NDArray[np.uint8]:
    """(slices, rows, columns) labels of `planes` on a grid whose voxels theirs are, whichever way its axes run.

    Raises
    ------
    InputError
        A plane's pixels lie beside the voxels of `grid`, or labelled ones outside it; `name` stands in the message.
    """
    labels = np.zeros(grid.shape, np.uint8)
    inverse = np.linalg.inv(grid.affine_ras)
    for plane in planes:
        rows, columns = plane.mask.shape
        to_voxel = inverse @ plane.affine_ras
        steps = np.round(to_voxel[:3, [0, 1, 3]]).astype(int)
        corners = np.array([[i, j, 1.0] for i in (0, columns - 1) for j in (0, rows - 1)]).T
        beside = (to_voxel[:3, [0, 1, 3]] - steps) @ corners
        distance = float(np.linalg.norm(grid.affine_ras[:3, :3] @ beside, axis=0).max())
        if distance > SAME_PLACE_MM:
            raise InputError(
                f"{name} lies up to {distance:.2f} mm beside the voxels of the file it belongs to; resample one to "
                "the other's grid first"
            )
        row, column = np.nonzero(plane.mask)
        index = steps[:, [0]] * column + steps[:, [1]] * row + steps[:, [2]]
        sides = np.array(grid.shape[::-1])[:, None]
        if ((index < 0) | (index >= sides)).any():
            raise InputError(f"{name} has labels outside the file it belongs to; give those of the same images")
        labels[index[2], index[1], index[0]] = plane.label
    return labels
