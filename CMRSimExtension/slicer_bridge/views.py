"""Brings results into the user's views. Only MRML: it works, and is tested, without a window."""

from typing import Any

import slicer


def _nodes(class_name: str) -> list[Any]:
    scene = slicer.mrmlScene
    return [scene.GetNthNodeByClass(index, class_name) for index in range(scene.GetNumberOfNodesByClass(class_name))]


def show_volume(volume: Any, *, fit: bool = True) -> None:
    """Show a volume as the background of every slice view, seen along its own axes."""
    for composite in _nodes("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(volume.GetID())
    for slice_node in _nodes("vtkMRMLSliceNode"):
        slice_node.RotateToVolumePlane(volume)
    manager = slicer.app.layoutManager() if getattr(slicer, "app", None) is not None else None
    if manager is None or not fit:
        return
    for name in manager.sliceViewNames():
        manager.sliceWidget(name).sliceLogic().FitSliceToBackground()


def show_controls(browser: Any) -> None:
    """Show the toolbar that plays, stops and steps through a sequence, unless the user's settings hide it."""
    if getattr(slicer, "app", None) is not None:
        slicer.modules.sequences.showSequenceBrowser(browser)


def play(browser: Any, playing: bool = True) -> None:
    """Start or stop the heartbeat in the views; it goes round until stopped, for which the controls are shown."""
    show_controls(browser)
    browser.SetPlaybackLooped(True)
    browser.SetPlaybackActive(playing)


def show_chart_and_table(chart: Any, table: Any) -> None:
    """Make a chart and a table the ones that plot and table views show, without changing the user's layout."""
    selection = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
    if selection is None:
        return
    if chart is not None:
        selection.SetActivePlotChartID(chart.GetID())
    if table is not None:
        selection.SetActiveTableID(table.GetID())
    if getattr(slicer, "app", None) is not None:
        logic = slicer.app.applicationLogic()
        logic.PropagatePlotChartSelection()
        logic.PropagateTableSelection()


def plot_layout() -> None:
    """Change to a layout with slice views, a plot and a table."""
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is not None:
        layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotTableView)


