"""The 17 segments of the left ventricle (American Heart Association; Cerqueira, Circulation 2002;105:539), and the
ventricle's own directions, both from labels.

Basal, mid-ventricular and apical thirds lie between the first and the last slice with myocardium. Round the axis the
angle runs from the lateral wall (0) over the anterior (90), the septum (180) and the inferior wall (270 degrees): the
septum is where the right ventricle touches the wall, and the anterior side follows from it, since slice 0 is the most
basal: seen from the apex, the right ventricle lies left and the anterior wall on top.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.errors import InputError

SEGMENT_NAMES = (
    "basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior", "basal inferolateral",
    "basal anterolateral", "mid anterior", "mid anteroseptal", "mid inferoseptal", "mid inferior", "mid inferolateral",
    "mid anterolateral", "apical anterior", "apical septal", "apical inferior", "apical lateral", "apex",
)  # fmt: skip
"""Names of segments 1 to 17."""

# Sixths of 60 degrees from the lateral wall on: anterolateral, anterior, anteroseptal, inferoseptal, inferior ...
_SIXTHS = np.array([6, 1, 2, 3, 4, 5], dtype=np.uint8)
# Quarters centred on lateral, anterior, septal, inferior.
_QUARTERS = np.array([16, 13, 14, 15], dtype=np.uint8)


class Grid(Protocol):
    """What is asked of a grid (`CMRSimExtension.scanner.geometry.ImageGrid`; anatomy lies below the scanner)."""

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """(4, 4): (column, row, slice, 1) to RAS mm."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        ...

    def points_mm(self) -> NDArray[np.float64]:
        """(slices, rows, columns, 3) RAS positions of the voxel centres."""
        ...


@dataclass(frozen=True)
class VentricleAxes:
    """Where the left ventricle lies at end diastole, in RAS mm.

    Attributes
    ----------
    origin_mm
        (3,) a point on the axis, at the first slice with myocardium.
    axes
        (3, 3) rows: septum to lateral wall, inferior to anterior, base to apex.
    depths_mm, centres_mm
        (n,) distance from the origin along the axis, and (n, 2) centre of the ventricle there, along the first two.
    base_mm, cavity_end_mm, apex_mm
        Depths at which the wall begins, the blood pool ends, and the wall ends.
    """

    origin_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    depths_mm: NDArray[np.float64]
    centres_mm: NDArray[np.float64]
    base_mm: float
    cavity_end_mm: float
    apex_mm: float

    @classmethod
    def from_labels(
        cls, labels: NDArray[np.integer], grid: Grid, septum_ras: NDArray[np.floating] | None = None
    ) -> "VentricleAxes":
        """Axes of the ventricle in labels (slices, rows, columns): 1 LV blood, 2 LV myocardium, 3 RV blood.

        Parameters
        ----------
        labels
            One frame, end diastole; slice 0 is the most basal.
        grid
            Its geometry.
        septum_ras
            (3,) direction from the ventricle's axis to the middle of the septum, where no RV is labelled.

        Raises
        ------
        InputError
            There is no myocardium, or no RV by the wall and no `septum_ras`; shapes differ.
        """
        labels = np.asarray(labels)
        if labels.shape != grid.shape:
            raise InputError(f"labels have the shape {labels.shape}, their grid {grid.shape}; they must agree")
        wall, ventricle = labels == 2, np.isin(labels, (1, 2))
        shown = np.flatnonzero(wall.any(axis=(1, 2)))
        if not len(shown):
            raise InputError("no LV myocardium (label 2) is labelled: the ventricle's segments are unknown")
        affine = grid.affine_ras
        # Across the slices, and from base to apex: slice 0 is the most basal.
        down = np.cross(affine[:3, 0], affine[:3, 1])
        down /= np.linalg.norm(down)
        down *= 1.0 if down @ affine[:3, 2] >= 0 else -1.0
        middles = np.stack([_ras_mean(ventricle[k], affine, int(k)) for k in shown])
        if septum_ras is None:
            septum_ras = _septum_direction(labels, shown, middles, affine, down)
        septum = np.asarray(septum_ras, dtype=np.float64)
        septum = septum - (septum @ down) * down
        if not np.linalg.norm(septum) > 1e-6:
            raise InputError("the direction of the septum runs along the slice normal; give one within the slice plane")
        lateral = -septum / np.linalg.norm(septum)
        axes = np.stack([lateral, np.cross(down, lateral), down])
        own = (middles - middles[0]) @ axes.T
        half = 0.5 * abs(affine[:3, 2] @ down)
        pool = np.flatnonzero((labels == 1).any(axis=(1, 2)))
        last = min(int(np.searchsorted(shown, pool[-1], side="right")) - 1, len(shown) - 1) if len(pool) else -1
        cavity_end = own[max(last, 0), 2] + half if len(pool) else own[-1, 2] + half
        base, apex = float(own[0, 2] - half), float(own[-1, 2] + half)
        return cls(middles[0], axes, own[:, 2], own[:, :2], base, float(cavity_end), apex)

    def directions(
        self, points_mm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Unit vectors (n, 3) RAS at points (n, 3): radial (outward), circumferential, longitudinal (base to apex)."""
        offset, _ = self._offsets(points_mm)
        length = np.maximum(np.linalg.norm(offset, axis=-1, keepdims=True), 1e-9)
        radial = (offset / length) @ self.axes[:2]
        longitudinal = np.broadcast_to(self.axes[2], radial.shape)
        return radial, np.cross(longitudinal, radial), np.array(longitudinal)

    def segments(self, points_mm: NDArray[np.floating]) -> NDArray[np.uint8]:
        """(n,) segment 1 to 17 of points (n, 3) RAS; 0 for points above the base or below the apex."""
        offset, depth = self._offsets(points_mm)
        angle = np.rad2deg(np.arctan2(offset[:, 1], offset[:, 0])) % 360.0
        third = np.floor(3.0 * (depth - self.base_mm) / max(self.cavity_end_mm - self.base_mm, 1e-9))
        sixth = _SIXTHS[np.minimum((angle // 60.0).astype(np.intp), 5)]
        quarter = _QUARTERS[((angle + 45.0) % 360.0 // 90.0).astype(np.intp) % 4]
        result = np.where(third <= 0, sixth, np.where(third == 1, sixth + 6, quarter))
        result[depth > self.cavity_end_mm] = 17
        result[(depth < self.base_mm) | (depth > self.apex_mm)] = 0
        return result.astype(np.uint8)

    def _offsets(self, points_mm: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        own = (np.asarray(points_mm, dtype=np.float64) - self.origin_mm) @ self.axes.T
        centre = np.stack([np.interp(own[:, 2], self.depths_mm, self.centres_mm[:, i]) for i in (0, 1)], axis=-1)
        return own[:, :2] - centre, own[:, 2]


def aha_segments(
    labels: NDArray[np.integer], grid: Grid, septum_ras: NDArray[np.floating] | None = None
) -> NDArray[np.uint8]:
    """(slices, rows, columns) segment number 1 to 17 of every voxel of LV myocardium, 0 elsewhere.

    Parameters and errors as `VentricleAxes.from_labels`.
    """
    axes = VentricleAxes.from_labels(labels, grid, septum_ras)
    wall = np.asarray(labels) == 2
    result = np.zeros(grid.shape, np.uint8)
    result[wall] = axes.segments(grid.points_mm()[wall])
    return result


def _ras_mean(mask: NDArray[np.bool_], affine: NDArray[np.float64], index: int) -> NDArray[np.float64]:
    row, column = np.argwhere(mask).mean(axis=0)
    return np.asarray(affine[:3, :3] @ [column, row, index] + affine[:3, 3])


def _septum_direction(
    labels: NDArray[np.integer],
    shown: NDArray[np.intp],
    middles: NDArray[np.float64],
    affine: NDArray[np.float64],
    down: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean direction, over all slices, of the wall that lies within two pixels of the RV."""
    total = np.zeros(3)
    for middle, k in zip(middles, shown, strict=True):
        septum = ndimage.binary_dilation(labels[k] == 3, iterations=2) & (labels[k] == 2)
        if not septum.any():
            continue
        row, column = np.argwhere(septum).T
        points = np.stack([column, row, np.full(len(row), k)], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
        offset = points - middle
        offset -= (offset @ down)[:, None] * down
        total += (offset / np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-9)).sum(axis=0)
    if not np.linalg.norm(total) > 1e-6:
        raise InputError(
            "no slice shows the RV (label 3) by the LV wall, so the septum is unknown: label the RV, or give the "
            "direction of the septum"
        )
    return total
