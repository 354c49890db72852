"""Strain between CMRTagged and the scene: what is read to measure it, and its tables and chart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES
from CMRSimExtension.errors import InputError
from CMRSimExtension.slicer_bridge.sequences import cine_of_node
from CMRSimExtension.slicer_bridge.tables import CurveNodes, add_bars, add_curves, add_table
from CMRSimExtension.slicer_bridge.tagging_nodes import labels_for_tagging, motion_for_tagging
from CMRSimExtension.strain.series import COMPONENTS, StrainSeries

SOURCES = {"truth": "true motion", "harp": "HARP", "registration": "registration"}
"""What a strain was measured from, as a table's description says it."""


@dataclass(frozen=True)
class StrainNodes:
    """What one measurement of strain adds to the scene.

    Attributes
    ----------
    curves
        Table and chart of the whole wall over time.
    bulls_eye
        Table of the peak strain of the AHA segments.
    peaks
        That table's chart: a bar for each segment and direction.
    segments
        Table of every segment at every frame.
    """

    curves: CurveNodes
    bulls_eye: Any
    peaks: CurveNodes
    segments: Any


def read_strain_input(node: Any, segmentation: Any, label_map: str, motion: Any) -> dict[str, Any]:
    """``cine``, ``labels`` and ``displacement`` of the ``strain`` job; the latter two are None where no node is given.

    Raises
    ------
    InputError
        No cine, fewer than two frames, or labels or motion of another cine.
    """
    cine = cine_of_node(node)
    if len(cine.image) < 2:
        raise InputError(
            f"'{node.GetName()}' has one frame, and strain is a change from frame to frame; choose the volume of a "
            "sequence")
    return {
        "cine": cine, "labels": None if segmentation is None else labels_for_tagging(segmentation, label_map, cine),
        "displacement": None if motion is None else motion_for_tagging(motion, cine)}


def add_strain(strain: StrainSeries, truth: StrainSeries | None, name: str, source: Any) -> StrainNodes:
    """Show strain, in percent, beside the image it was measured in.

    Parameters
    ----------
    truth
        Drawn beside the measured one, where it is known.
    name
        The nodes' names begin with it; what was measured from follows.

    Raises
    ------
    InputError
        If no strain is known in any frame.
    """
    shown = [index for index in range(len(COMPONENTS)) if np.isfinite(strain.whole[:, index]).any()]
    if not shown:
        raise InputError("no strain is known in any frame: do the labels lie on the heart of this cine?")
    name = f"{name}, {SOURCES[strain.source]}"
    timed = bool(np.isfinite(strain.times_ms).all())
    times = np.asarray(strain.times_ms if timed else range(len(strain.whole)), dtype=float)
    measured = {COMPONENTS[index]: _percent(strain.whole[:, index]) for index in shown}
    if truth is not None:
        measured |= {f"{COMPONENTS[index]}, true": _percent(truth.whole[:, index]) for index in shown}
    curves = add_curves(
        times.tolist(), {f"{legend.capitalize()} (%)": values for legend, values in measured.items()}, name,
        source=source, time_title="Time (ms)" if timed else "Frame", value_title="Green-Lagrange strain (%)",
        legend=tuple(measured))
    said = f"Green-Lagrange strain of the LV myocardium in percent, from {SOURCES[strain.source]}."
    peaks = add_table(f"{name} bull's eye", _peaks(strain, shown), source=source, description=f"Peak. {said}")
    bars = add_bars(
        peaks, "Segment", [_peak_title(index) for index in shown], f"{name} peaks",
        value_title="Peak Green-Lagrange strain (%)", legend=[f"peak {COMPONENTS[index]}" for index in shown])
    segments = add_table(f"{name} segments", _segments(strain, shown, times, timed), source=source, description=said)
    return StrainNodes(curves, peaks, bars, segments)


def _percent(strain: NDArray[np.float64]) -> NDArray[np.float64]:
    """In percent, to two decimals: a table is read by people, and nothing that measures strain is finer."""
    return np.round(100.0 * strain, 2) + 0.0  # no minus zero


def _peaks(strain: StrainSeries, shown: list[int]) -> dict[str, Any]:
    known = np.flatnonzero(strain.voxels)
    peaks = _percent(strain.peaks()[known])
    return {
        "Segment": [float(number + 1) for number in known], "Name": [SEGMENT_NAMES[number] for number in known],
        **{_peak_title(index): peaks[:, index].tolist() for index in shown}}


def _peak_title(index: int) -> str:
    return f"Peak {COMPONENTS[index]} (%)"


def _segments(strain: StrainSeries, shown: list[int], times: NDArray[np.float64], timed: bool) -> dict[str, Any]:
    known, frames = np.flatnonzero(strain.voxels), len(strain.segments)
    values = _percent(strain.segments[:, known])
    return {
        "Frame": np.repeat(np.arange(frames, dtype=float), len(known)).tolist(),
        **({"Time (ms)": np.repeat(times, len(known)).tolist()} if timed else {}),
        "Segment": np.tile(known + 1.0, frames).tolist(), "Name": [SEGMENT_NAMES[n] for n in known] * frames,
        **{f"{COMPONENTS[index]} (%)".capitalize(): values[:, :, index].ravel().tolist() for index in shown},
        "Reliable": ["yes" if flag else "no" for flag in strain.reliable for _segment in known]}
