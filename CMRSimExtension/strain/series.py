"""Strain over the heartbeat, per segment: from displacement, with its table."""

import csv
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES, VentricleAxes
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.strain.tensor import masked_gradient, plane_of, strain_from_rest_gradient

COMPONENTS = ("radial", "circumferential", "longitudinal")


@dataclass(frozen=True)
class StrainSeries:
    """Green-Lagrange strain of the LV myocardium.

    Attributes
    ----------
    times_ms
        (frames,) mean over slices of the time after the R wave; NaN where unknown.
    segments
        (frames, 17, 3) median over each AHA segment's voxels: radial, circumferential, longitudinal; NaN where nothing
        is known (longitudinal strain from motion within the plane alone, say).
    whole
        (frames, 3) median over the whole wall.
    voxels
        (17,) voxels per segment at end diastole.
    source
        What it was measured from: "truth", "registration" or "harp".
    reliable
        (frames,) False where the measurement says of itself that it cannot be trusted (faded tags).
    """

    times_ms: NDArray[np.float64]
    segments: NDArray[np.float64]
    whole: NDArray[np.float64]
    voxels: NDArray[np.intp]
    source: str
    reliable: NDArray[np.bool_]

    def peaks(self) -> NDArray[np.float64]:
        """(17, 3) strain of largest magnitude over the reliable frames; NaN where there is none."""
        values = np.where(self.reliable[:, None, None], self.segments, np.nan)
        magnitude = np.where(np.isfinite(values), np.abs(values), -1.0)
        frame = magnitude.argmax(axis=0)
        best = np.take_along_axis(values, frame[None], axis=0)[0]
        return np.where(magnitude.max(axis=0) >= 0, best, np.nan)

    def table(self) -> str:
        """CSV: frame, time, segment (0 is the whole wall), its name, the three strains, whether reliable."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["frame", "time_ms", "segment", "name", *COMPONENTS, "reliable"])
        for frame, time in enumerate(self.times_ms):
            rows = [(0, "whole wall", self.whole[frame])]
            rows += [(n + 1, name, self.segments[frame, n]) for n, name in enumerate(SEGMENT_NAMES) if self.voxels[n]]
            for number, name, values in rows:
                numbers = ["" if not np.isfinite(v) else f"{v:.4f}" for v in values]
                shown = "" if not np.isfinite(time) else f"{time:.1f}"
                writer.writerow([frame, shown, number, name, *numbers, int(self.reliable[frame])])
        return text.getvalue()


def strain_from_displacement(
    cine: Cine, *, source: str = "truth", septum_ras: NDArray[np.floating] | None = None, reach_px: int = 1
) -> StrainSeries:
    """Strain of a cine that carries displacement and labels.

    Parameters
    ----------
    cine
        With `displacement_mm` and `labels` of every frame (1 LV blood, 2 LV myocardium, 3 RV blood).
    source
        "truth" for a displacement in three dimensions; "registration" for one within the slice plane, whose strain is
        that of the plane and has no longitudinal part.
    septum_ras
        Where no RV is labelled: the direction of the septum.
    reach_px
        Neighbours that enter the gradient; more of them average more.

    Raises
    ------
    InputError
        Displacement or labels are missing.
    """
    if cine.displacement_mm is None:
        raise InputError("the cine carries no displacement; simulate it with its true motion, or estimate its motion")
    if cine.labels is None or not np.any(cine.labels[0] == 2):
        raise InputError("strain needs the LV myocardium (label 2) at end diastole; give labels")
    axes = VentricleAxes.from_labels(cine.labels[0], cine.grid, septum_ras)
    flat = source == "registration" or cine.grid.shape[0] == 1
    plane = plane_of(cine.grid) if flat else None
    positions = cine.grid.points_mm()
    collected = SegmentedStrain(axes, len(cine.image), in_plane=flat)
    for frame in range(len(cine.image)):
        wall = cine.labels[frame] == 2
        displacement = cine.displacement_mm[frame]
        gradient = masked_gradient(displacement, wall, cine.grid, reach_px=reach_px, through=not flat)
        rest = positions[wall] + displacement[wall]
        collected.add(frame, rest, strain_from_rest_gradient(gradient, plane))
    return collected.series(mean_times(cine), source, np.ones(len(cine.image), bool))


class SegmentedStrain:
    """Collects tensors at rest positions, frame by frame, into segments."""

    def __init__(self, axes: VentricleAxes, frames: int, *, in_plane: bool) -> None:
        self._axes, self._in_plane = axes, in_plane
        self._segments = np.full((frames, 17, 3), np.nan)
        self._whole = np.full((frames, 3), np.nan)
        self._voxels = np.zeros(17, dtype=np.intp)

    def add(self, frame: int, rest_mm: NDArray[np.floating], strain: NDArray[np.floating]) -> None:
        """Tensors (n, 3, 3) RAS at rest positions (n, 3) of one frame."""
        numbers = self._axes.segments(rest_mm)
        parts = np.stack(
            [np.einsum("ni,nij,nj->n", e, strain, e) for e in self._axes.directions(rest_mm)], axis=-1
        )
        if self._in_plane:
            parts[:, 2] = np.nan
        self._whole[frame] = _median(parts[numbers > 0])
        for n in range(17):
            self._segments[frame, n] = _median(parts[numbers == n + 1])
        if frame == 0:
            self._voxels[:] = np.bincount(numbers, minlength=18)[1:18]

    def series(self, times_ms: NDArray[np.float64], source: str, reliable: NDArray[np.bool_]) -> StrainSeries:
        """What was collected."""
        return StrainSeries(times_ms, self._segments, self._whole, self._voxels, source, reliable)


def mean_times(cine: Cine) -> NDArray[np.float64]:
    """(frames,) time of each frame, mean over slices; NaN where unknown."""
    if cine.times_ms is None:
        return np.full(len(cine.image), np.nan)
    return np.asarray(cine.times_ms, dtype=np.float64).mean(axis=0)


def mean_absolute_difference(one: StrainSeries, other: StrainSeries, component: str = "circumferential") -> float:
    """Median over segments of the mean absolute difference over the frames both call reliable."""
    index = COMPONENTS.index(component)
    both = one.reliable & other.reliable
    difference = np.abs(one.segments[both, :, index] - other.segments[both, :, index])
    known = np.isfinite(difference).any(axis=0)
    return float(np.median(np.nanmean(difference[:, known], axis=0))) if known.any() else float("nan")


def _median(values: NDArray[np.floating]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    return np.array([np.median(v[k]) if k.any() else np.nan for v, k in zip(values.T, known.T, strict=True)])
