"""Wall thickness per segment of the American Heart Association's model (Cerqueira et al., Circulation 2002;105:539).

Segments 1 to 6 are the basal third, 7 to 12 the middle, 13 to 16 the apical third (four of them); 17, the apex itself,
cannot be seen in short-axis slices. Segment 1 (7, 13) is the anterior one; the numbers rise towards the septum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid

SEGMENT_NAMES = (
    "basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior", "basal inferolateral",
    "basal anterolateral", "mid anterior", "mid anteroseptal", "mid inferoseptal", "mid inferior", "mid inferolateral",
    "mid anterolateral", "apical anterior", "apical septal", "apical inferior", "apical lateral",
)  # fmt: skip
"""Names of segments 1 to 16."""


@dataclass(frozen=True)
class WallThickness:
    """Thickness of one frame.

    Attributes
    ----------
    segments_mm
        Mean thickness of segments 1 to 16; NaN where no wall was seen.
    slices_mm
        Mean thickness per slice; NaN for slices without both blood and wall.
    """

    segments_mm: tuple[float, ...]
    slices_mm: tuple[float, ...]


def wall_thickness(
    labels: NDArray[np.integer], spacing_mm: Sequence[float], *, clockwise: bool | None = None, rays: int = 120
) -> WallThickness:
    """Thickness of the wall along rays from the centre of the blood pool, per segment.

    The anterior and inferior insertions of the right ventricle are the two ends of the arc over which it touches the
    wall; the septum lies between them, and segment limits follow from its middle.

    Parameters
    ----------
    labels
        (slices, rows, columns), slice 0 the most basal: 1 LV blood pool, 2 LV myocardium, 3 RV blood pool.
    spacing_mm
        (slice, row, column) distances.
    clockwise
        Sense in which, in the array as displayed (rows downward), one goes from the septum over the anterior wall to
        the lateral wall: True for the usual view from the apex. None takes that usual view.
    rays
        Directions per slice.

    Raises
    ------
    InputError
        When no slice shows a blood pool within a wall, or none shows the right ventricle, without which the segments
        cannot be told apart.
    """
    labels = np.asarray(labels)
    if labels.ndim != 3:
        raise InputError(f"labels of shape {labels.shape}: one frame (slices, rows, columns) is needed")
    shown = [index for index, slice_ in enumerate(labels) if (slice_ == 1).sum() >= 4 and (slice_ == 2).sum() >= 8]
    if not shown:
        raise InputError("no slice shows an LV blood pool (label 1) within a wall (label 2)")
    septum = _septum_angle(labels, shown, spacing_mm)
    sense = -1.0 if clockwise is False else 1.0
    segments: list[list[float]] = [[] for _ in SEGMENT_NAMES]
    per_slice = np.full(len(labels), np.nan)
    angles = 2.0 * np.pi * np.arange(rays) / rays
    for order, index in enumerate(shown):
        thickness = _ray_thickness(labels[index], spacing_mm[1:], angles)
        per_slice[index] = float(np.nanmean(thickness)) if np.isfinite(thickness).any() else np.nan
        level = min(2, 3 * order // len(shown))
        # Angle from the middle of the septum, rising over the anterior wall.
        turned = (sense * (angles - septum)) % (2.0 * np.pi)
        for value, angle in zip(thickness, turned, strict=True):
            if np.isfinite(value):
                segments[_segment(level, float(angle))].append(float(value))
    means = tuple(float(np.mean(values)) if values else float("nan") for values in segments)
    return WallThickness(means, tuple(float(value) for value in per_slice))


def _segment(level: int, angle: float) -> int:
    """Index 0 to 15 of the segment at `angle` from mid-septum towards anterior."""
    if level == 2:
        # Septal, anterior, lateral, inferior quarters around the circle; AHA order is 13 anterior, 14 septal, ...
        return 12 + (1, 0, 3, 2)[int((angle + np.pi / 4.0) // (np.pi / 2.0)) % 4]
    # Six sixths beginning at mid-septum: anteroseptal, anterior, anterolateral, inferolateral, inferior, inferoseptal.
    return 6 * level + (1, 0, 5, 4, 3, 2)[int(angle // (np.pi / 3.0)) % 6]


def _septum_angle(labels: NDArray[np.integer], shown: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Direction (angle in the (column, row) plane) from the LV's centre to the middle of the septum."""
    total = np.zeros(2)
    for index in shown:
        right = labels[index] == 3
        wall = labels[index] == 2
        touching = ndimage.binary_dilation(right, iterations=2) & wall
        if not touching.any():
            continue
        centre = np.argwhere(labels[index] == 1).mean(0)
        offset = (np.argwhere(touching) - centre) * np.asarray(spacing_mm[1:])
        unit = offset / np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-9)
        total += unit.sum(0)
    if not np.any(total):
        raise InputError("no slice shows the RV (label 3) beside the wall: the septum and so the segments are unknown")
    return float(np.arctan2(total[0], total[1]))


def _ray_thickness(
    labels: NDArray[np.integer], spacing_mm: Sequence[float], angles: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Length of wall on each ray from the centre of the blood pool; NaN where the ray meets none.

    Masks are sampled linearly and integrated, so a wall of fractional pixels is measured as such.
    """
    centre = np.argwhere(labels == 1).mean(0)
    reach = float(np.hypot(*(np.asarray(labels.shape) * np.asarray(spacing_mm))))
    step = 0.2 * min(spacing_mm)
    radii = np.arange(0.0, reach, step)
    rows = centre[0] + np.sin(angles)[:, None] * radii / spacing_mm[0]
    columns = centre[1] + np.cos(angles)[:, None] * radii / spacing_mm[1]
    wall = ndimage.map_coordinates((labels == 2).astype(np.float32), [rows, columns], order=1)
    thickness = wall.sum(1) * step
    return np.where(thickness > 0.5 * min(spacing_mm), thickness, np.nan)


def seen_from_apex(grid: ImageGrid) -> bool:
    """Whether the slices, as displayed (columns to the right, rows downward), show the heart as from its apex.

    Slice 0 is taken to be the most basal. The value is what `wall_thickness` calls `clockwise`.
    """
    return bool(np.linalg.det(grid.affine_ras[:3, :3]) < 0)
