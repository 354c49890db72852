"""Function and accuracy as table and plot nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES
from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.wall_thickness import wall_key
from CMRSimExtension.files.display import LABEL_COLOURS
from CMRSimExtension.slicer_bridge.hierarchy import place_beside
from CMRSimExtension.slicer_bridge.scene import new_node

RESEARCH_ONLY = "For research, not for clinical use."

FUNCTION_ROWS: dict[str, tuple[str, str]] = {
    "lv_edv_ml": ("LV end-diastolic volume", "ml"),
    "lv_esv_ml": ("LV end-systolic volume", "ml"),
    "lv_sv_ml": ("LV stroke volume", "ml"),
    "lv_ef_percent": ("LV ejection fraction", "%"),
    "lv_mass_g": ("LV myocardial mass", "g"),
    "rv_edv_ml": ("RV end-diastolic volume", "ml"),
    "rv_esv_ml": ("RV end-systolic volume", "ml"),
    "rv_sv_ml": ("RV stroke volume", "ml"),
    "rv_ef_percent": ("RV ejection fraction", "%"),
}
"""What a reader calls each value of `CardiacFunction`, and its unit."""
INDEXED_ROWS = {
    f"{key}_per_m2": (f"{title} index", f"{unit}/m²")
    for key, (title, unit) in FUNCTION_ROWS.items() if not key.endswith("percent")}
"""The same of the values indexed to body surface area."""
WALL_ROWS = {
    wall_key(phase, segment): (f"Wall thickness, {segment}, {words}", "mm")
    for phase, words in (("ed", "end diastole"), ("es", "end systole")) for segment in SEGMENT_NAMES}
"""The same of the wall thickness of the segments."""
_ROWS = FUNCTION_ROWS | INDEXED_ROWS | WALL_ROWS

CURVE_COLOURS = {
    **{name: tuple(channel / 255 for channel in LABEL_COLOURS[label]) for name, label in (("LV", 1), ("RV", 3))},
    "Myocardium": (0.45, 0.45, 0.45)}
"""Those of the segments; but yellow, the myocardium's, would not show on the white of a chart."""
OTHER_COLOURS = ((0.80, 0.27, 0.18), (0.16, 0.44, 0.70), (0.30, 0.60, 0.25), (0.10, 0.10, 0.10), (0.55, 0.35, 0.65))


@dataclass(frozen=True)
class CurveNodes:
    """Nodes of curves over time: their table, one series per curve, and the chart that shows them."""

    table: Any
    series: tuple[Any, ...]
    chart: Any


def _string_column(name: str, values: Sequence[str]) -> vtk.vtkStringArray:
    column = vtk.vtkStringArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    return column


def _number_column(name: str, values: Sequence[float]) -> vtk.vtkDoubleArray:
    column = vtk.vtkDoubleArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(float(value))
    return column


def add_table(
    name: str, columns: Mapping[str, Sequence[str] | Sequence[float]], *, source: Any = None, description: str = ""
) -> Any:
    """A table node; columns of numbers stay numbers (NaN where a value is not known).

    Raises
    ------
    InputError
        If the columns differ in length.
    """
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InputError(f"the columns of table '{name}' have different lengths: {sorted(lengths)}")
    node = new_node("vtkMRMLTableNode", name)
    for title, values in columns.items():
        is_text = any(isinstance(value, str) for value in values)
        node.AddColumn(
            _string_column(title, [str(value) for value in values]) if is_text
            else _number_column(title, [float(value) for value in values]))
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetDescription(f"{description} {RESEARCH_ONLY}".strip())
    if source is not None:
        place_beside(node, source)
    return node


def add_function_table(
    function: CardiacFunction, name: str, *, source: Any = None, indexed: Mapping[str, float] | None = None,
    normal_ranges: Mapping[str, tuple[float, float]] | None = None, wall_mm: Mapping[str, float] | None = None,
) -> Any:
    """Cardiac function as a table: measure, value, unit, and the normal range where one is known.

    A value that cannot be known (the ejection fraction of a single frame) has no row; numbers have two decimals.

    Parameters
    ----------
    indexed
        Values per m2 of body surface, by the keys of `INDEXED_ROWS`.
    normal_ranges
        (low, high) of healthy people, by the keys of `FUNCTION_ROWS` and `INDEXED_ROWS`.
    wall_mm
        Wall thickness of segments, by the keys of `WALL_ROWS`.
    """
    values = function.as_dict() | dict(indexed or {}) | dict(wall_mm or {})
    known = [key for key in _ROWS if values.get(key) is not None]
    columns: dict[str, Sequence[str] | Sequence[float]] = {
        "Measure": [_ROWS[key][0] for key in known],
        "Value": [round(float(values[key] or 0.0), 2) for key in known],
        "Unit": [_ROWS[key][1] for key in known],
    }
    if normal_ranges:
        columns["Normal range"] = [
            "{:.0f} to {:.0f}".format(*normal_ranges[key]) if key in normal_ranges else "" for key in known]
    return add_table(name, columns, source=source, description="Cardiac function.")


def function_of_table(table: Any) -> dict[str, float]:
    """Value by key (`FUNCTION_ROWS`, `INDEXED_ROWS`, `WALL_ROWS`) of a table made by `add_function_table`."""
    grid = table.GetTable()
    keys = {title: key for key, (title, _) in _ROWS.items()}
    return {
        keys[grid.GetValue(row, 0).ToString()]: grid.GetValue(row, 1).ToDouble()
        for row in range(grid.GetNumberOfRows())
    }


def volume_curves_ml(labels: NDArray[np.uint8], voxel_ml: float) -> dict[str, NDArray[np.float64]]:
    """(frames,) volumes in ml of LV, myocardium and RV labels; those without a voxel in any frame are left out."""
    counts = np.stack([np.bincount(frame.ravel(), minlength=256)[:4] for frame in labels])
    curves = {"LV": counts[:, 1], "Myocardium": counts[:, 2], "RV": counts[:, 3]}
    return {name: curve.astype(np.float64) * voxel_ml for name, curve in curves.items() if curve.any()}


def add_volume_curves(
    times: Sequence[float], curves: Mapping[str, NDArray[np.floating]], name: str, *, source: Any, time_title: str
) -> CurveNodes:
    """Volume over time as a table and a line chart; `curves` are (frames,) volumes in ml by chamber name."""
    return add_curves(
        times, {f"{chamber} volume (ml)": curve for chamber, curve in curves.items()}, name, source=source,
        time_title=time_title, value_title="Volume (ml)", legend=tuple(curves))


def add_curves(
    times: Sequence[float], columns: Mapping[str, Sequence[float] | NDArray[np.floating]], name: str, *, source: Any,
    time_title: str, value_title: str, legend: Sequence[str],
) -> CurveNodes:
    """Values over time as a table and a line chart.

    Parameters
    ----------
    times
        (frames,) time in ms or frame number.
    columns
        (frames,) values by column title; a NaN leaves a gap.
    time_title, value_title
        Titles of the axes, with their units.
    legend
        What the chart calls each column.
    """
    values: dict[str, Sequence[str] | Sequence[float]] = {time_title: [float(time) for time in times]}
    values |= {title: [float(value) for value in column] for title, column in columns.items()}
    table = add_table(f"{name} values", values, source=source, description=f"{value_title} over time.")
    return _plotted(table, time_title, tuple(columns), name, value_title, legend, bars=False)


def add_bars(
    table: Any, x_column: str, columns: Sequence[str], name: str, *, value_title: str, legend: Sequence[str]
) -> CurveNodes:
    """Columns of a table that is there already as a bar chart over one of them, a group of bars for each row.

    Parameters
    ----------
    x_column
        Column of numbers that says where each row stands.
    value_title
        Title of the other axis, with its unit.
    legend
        What the chart calls each column.
    """
    return _plotted(table, x_column, columns, name, value_title, legend, bars=True)


def _plotted(
    table: Any, x_column: str, columns: Sequence[str], name: str, value_title: str, legend: Sequence[str], *, bars: bool
) -> CurveNodes:
    chart = new_node("vtkMRMLPlotChartNode", name)
    chart.SetTitle(name)
    chart.SetXAxisTitle(x_column)
    chart.SetYAxisTitle(value_title)
    kinds = slicer.vtkMRMLPlotSeriesNode
    series = []
    for index, (title, shown) in enumerate(zip(columns, legend, strict=True)):
        node = new_node("vtkMRMLPlotSeriesNode", shown)
        node.SetName(shown)  # the legend's text: as it is, also where another chart has a series of that name
        node.SetAndObserveTableNodeID(table.GetID())
        node.SetXColumnName(x_column)
        node.SetYColumnName(title)
        node.SetPlotType(kinds.PlotTypeScatterBar if bars else kinds.PlotTypeScatter)
        node.SetMarkerStyle(kinds.MarkerStyleNone if bars else kinds.MarkerStyleCircle)
        node.SetColor(*CURVE_COLOURS.get(shown, OTHER_COLOURS[index % len(OTHER_COLOURS)]))
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
        series.append(node)
    return CurveNodes(table, tuple(series), chart)
