"""Function of a segmentation as a table and a chart, which are made anew after corrections."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.coverage import coverage_note
from CMRSimExtension.evaluation.function import FunctionCurves, function_from_labels, normal_ranges
from CMRSimExtension.evaluation.voxel_sizes import spacing_is_plausible
from CMRSimExtension.evaluation.wall_thickness import wall_of_heartbeat
from CMRSimExtension.slicer_bridge.scene import ATTRIBUTE_PREFIX, AllOrNothing
from CMRSimExtension.slicer_bridge.segmentations import labels_of_node
from CMRSimExtension.slicer_bridge.sequences import sequence_of, times_of_sequence
from CMRSimExtension.slicer_bridge.tables import CurveNodes, add_function_table, add_volume_curves

TABLE_ROLE = ATTRIBUTE_PREFIX + "Function"
CHART_ROLE = ATTRIBUTE_PREFIX + "VolumeCurves"
"""References of a segmentation to its function."""


@dataclass(frozen=True)
class FunctionNodes:
    """Function as nodes.

    Attributes
    ----------
    table
        Of function.
    curves
        The chart of volumes over time; None for a single frame.
    note
        What is missing at the ends of the stack (`evaluation.coverage`), or None where nothing is.
    """

    table: Any
    curves: CurveNodes | None
    note: str | None = None


def add_function(
    segmentation: Any, function: FunctionCurves, times_ms: NDArray[np.floating] | None,
    ranges: Mapping[str, tuple[float, float]], name: str,
) -> FunctionNodes:
    """Show function beside the segmentation it was measured in, which from then on refers to it.

    Parameters
    ----------
    times_ms
        (frames,) of the whole cine, where known.
    ranges
        (low, high) of healthy people by value, where known.
    name
        Of the segmentation, as table and chart are called after it.
    """
    table = add_function_table(
        function.function, f"{name} function", source=segmentation, indexed=function.indexed, normal_ranges=ranges,
        wall_mm=function.wall_mm)
    segmentation.SetNodeReferenceID(TABLE_ROLE, table.GetID())
    if len(function.frames) < 2:
        return FunctionNodes(table, None)
    axis = [float(frame) if times_ms is None else float(times_ms[frame]) for frame in function.frames]
    series = {"LV": function.lv_ml, "Myocardium": function.myocardium_ml, "RV": function.rv_ml}
    curves = add_volume_curves(
        axis, {chamber: np.array(values) for chamber, values in series.items() if any(values)},
        f"{name} volume curves", source=segmentation, time_title="Frame" if times_ms is None else "Time (ms)")
    segmentation.SetNodeReferenceID(CHART_ROLE, curves.chart.GetID())
    return FunctionNodes(table, curves)


def update_function(segmentation: Any, person: Mapping[str, Any]) -> FunctionNodes:
    """Measure a segmentation as it is now; table and chart take the place of those it had.

    Frames with an LV blood pool are counted, also where it was drawn by hand in a frame that was left empty. Wall
    thickness is told where the labels show the segments.

    Parameters
    ----------
    person
        ``sex``, ``age_years``, ``height_cm`` and ``weight_kg``; None where not known.

    Raises
    ------
    InputError
        If no frame has an LV blood pool, or the voxel sizes cannot be true.
    """
    labels, grid = labels_of_node(segmentation)
    dx, dy, dz = grid.spacing_mm
    if not spacing_is_plausible(grid):
        raise InputError(
            f"the voxel sizes of '{segmentation.GetName()}' ({dx:g} x {dy:g} x {dz:g} mm) cannot be true, so volumes "
            "cannot be told; set the true spacing of the image (Volumes module) and segment it again")
    function = function_from_labels(
        labels, (dz, dy, dx), height_cm=person["height_cm"], weight_kg=person["weight_kg"])
    with suppress(InputError):  # the segments are not known of every segmentation, as of a single slice
        wall = wall_of_heartbeat(labels, grid, function.end_diastole, function.end_systole)
        function = replace(function, wall_mm=wall)
    known = person["sex"] is not None and person["age_years"] is not None
    ranges = normal_ranges(person["sex"], person["age_years"]) if known else {}
    sequence = sequence_of(segmentation)
    times = None if sequence is None else times_of_sequence(sequence, slices=1)
    before, series = _named_nodes(segmentation), _series(segmentation)
    with AllOrNothing():
        nodes = add_function(
            segmentation, function, None if times is None else times[0], ranges, segmentation.GetName())
    names = {what: node.GetName() for what, node in before.items()}
    for node in (*before.values(), *series):
        slicer.mrmlScene.RemoveNode(node)
    for what, node in _named_nodes(segmentation).items():
        if what in names:  # a scene gives no name twice of itself
            node.SetName(names[what])
    return replace(nodes, note=coverage_note(labels, function.frames))


def _series(segmentation: Any) -> list[Any]:
    """The plotted series of the volumes of a segmentation."""
    chart = segmentation.GetNodeReference(CHART_ROLE)
    return [] if chart is None else [
        chart.GetNthPlotSeriesNode(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]


def _named_nodes(segmentation: Any) -> dict[str, Any]:
    """Table, chart and the chart's values that a segmentation refers to, as far as they are still there."""
    series = _series(segmentation)
    nodes = {
        "table": segmentation.GetNodeReference(TABLE_ROLE), "chart": segmentation.GetNodeReference(CHART_ROLE),
        "values": series[0].GetTableNode() if series else None}
    return {what: node for what, node in nodes.items() if node is not None}
