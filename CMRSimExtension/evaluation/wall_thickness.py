"""Wall thickness per segment of the American Heart Association's model (see `CMRSimExtension.anatomy.aha`)."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES, VentricleAxes
from CMRSimExtension.anatomy.stack_order import begins_at_apex
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid

FEWEST_SLICES = 3
"""Segments are counted in a basal, a middle and an apical third."""


@dataclass(frozen=True)
class WallThickness:
    """Thickness of one frame.

    Attributes
    ----------
    segments_mm
        Mean thickness of segments 1 to 17, in the order of `SEGMENT_NAMES`; NaN where no wall round a blood pool was
        seen, as in the apex (17) always.
    slices_mm
        Mean thickness per slice; NaN for slices without both blood and wall.
    """

    segments_mm: tuple[float, ...]
    slices_mm: tuple[float, ...]


def wall_thickness(
    labels: NDArray[np.integer],
    grid: ImageGrid,
    *,
    septum_ras: NDArray[np.floating] | None = None,
    rays: int = 120,
    apex_first: bool = False,
) -> WallThickness:
    """Thickness of the wall along rays from the centre of the blood pool, within each slice, per segment.

    Parameters
    ----------
    labels
        (slices, rows, columns): 1 LV blood pool, 2 LV myocardium, 3 RV blood pool.
    grid
        Their geometry.
    septum_ras
        Where no RV is labelled: the direction of the septum.
    rays
        Directions per slice.
    apex_first
        Whether slice 0 is the most apical, not the most basal (see `anatomy.stack_order.begins_at_apex`).

    Raises
    ------
    InputError
        No slice shows a blood pool within a wall, none shows the right ventricle without which the segments cannot be
        told apart, or the labels do not fit the grid.
    """
    labels = np.asarray(labels)
    if apex_first:
        found = wall_thickness(labels[::-1], _turned(grid), septum_ras=septum_ras, rays=rays)
        return replace(found, slices_mm=found.slices_mm[::-1])
    axes = VentricleAxes.from_labels(labels, grid, septum_ras)
    lengths, numbers = [], []
    per_slice = np.full(len(labels), np.nan)
    for index, plane in enumerate(labels):
        # Fewer pixels than these have no centre, or no ring, worth the name.
        if (plane == 1).sum() < 4 or (plane == 2).sum() < 8:
            continue
        thickness, middles = _along_rays(plane, index, grid, rays)
        if len(thickness):
            per_slice[index] = thickness.mean()
            lengths.append(thickness)
            numbers.append(axes.segments(middles))
    if not lengths:
        raise InputError("no slice shows an LV blood pool (label 1) within a wall (label 2); label both")
    values, segments = np.concatenate(lengths), np.concatenate(numbers)
    per_segment = [values[segments == number] for number in range(1, len(SEGMENT_NAMES) + 1)]
    means = tuple(float(found.mean()) if len(found) else float("nan") for found in per_segment)
    return WallThickness(means, tuple(float(value) for value in per_slice))


def wall_of_heartbeat(
    labels: NDArray[np.integer], grid: ImageGrid, end_diastole: int, end_systole: int | None
) -> dict[str, float]:
    """Wall thickness in mm of each segment that is seen, by the names of `wall_key`.

    Parameters
    ----------
    labels
        (frames, slices, rows, columns) of a short-axis stack: 1 LV blood pool, 2 LV myocardium, 3 RV blood pool.
    grid
        Geometry of a frame.
    end_diastole, end_systole
        Frames to measure; None leaves end systole out.

    Raises
    ------
    InputError
        Fewer than `FEWEST_SLICES` slices show a pool and a wall at end diastole, or as `wall_thickness`.
    """
    diastole = labels[end_diastole]
    both = int(((diastole == 1).any(axis=(1, 2)) & (diastole == 2).any(axis=(1, 2))).sum())
    if both < FEWEST_SLICES:
        raise InputError(
            f"{both} slices show an LV blood pool (label 1) and a wall (label 2) at end diastole; the segments need "
            f"{FEWEST_SLICES}, of base, middle and apex"
        )
    apex_first = begins_at_apex(diastole)
    frames = {"ed": end_diastole} | ({} if end_systole is None else {"es": end_systole})
    found: dict[str, float] = {}
    for phase, frame in frames.items():
        segments = wall_thickness(labels[frame], grid, apex_first=apex_first).segments_mm
        found |= {
            wall_key(phase, name): value
            for name, value in zip(SEGMENT_NAMES, segments, strict=True)
            if np.isfinite(value)
        }
    return found


def wall_key(phase: str, segment: str) -> str:
    """Name of a value of `wall_of_heartbeat`; `phase` is ``ed`` or ``es``, `segment` one of `SEGMENT_NAMES`."""
    return f"wall_{phase}_mm_{segment.replace(' ', '_')}"


def _turned(grid: ImageGrid) -> ImageGrid:
    """The grid of the same slices in the opposite order."""
    turn = np.eye(4)
    turn[2, 2], turn[2, 3] = -1.0, grid.shape[0] - 1.0
    return replace(grid, affine_ras=grid.affine_ras @ turn)


def _along_rays(
    plane: NDArray[np.integer], index: int, grid: ImageGrid, rays: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lengths (n,) of wall on the rays that meet one, and (n, 3) RAS mid-wall points on them.

    The mask is sampled linearly and integrated, so a wall of fractional pixels is measured as such.
    """
    dx, dy, _ = grid.spacing_mm
    step = 0.2 * min(dx, dy)
    radii = np.arange(0.0, np.hypot(plane.shape[0] * dy, plane.shape[1] * dx), step)
    angles = 2.0 * np.pi * np.arange(rays) / rays
    row, column = np.argwhere(plane == 1).mean(axis=0)
    rows = row + np.sin(angles)[:, None] * radii / dy
    columns = column + np.cos(angles)[:, None] * radii / dx
    wall = ndimage.map_coordinates((plane == 2).astype(np.float32), [rows, columns], order=1)
    thickness = wall.sum(axis=1) * step
    met = thickness > 0.5 * min(dx, dy)
    middle = (wall @ radii)[met] * step / thickness[met]
    angles = angles[met]
    place = np.stack(
        [column + np.cos(angles) * middle / dx, row + np.sin(angles) * middle / dy, np.full(len(middle), float(index))],
        axis=-1,
    )
    return thickness[met], place @ grid.affine_ras[:3, :3].T + grid.affine_ras[:3, 3]
