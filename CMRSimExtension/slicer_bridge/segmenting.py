"""CMRSegment's work between its parameters and the scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.function import FunctionCurves
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import (
    CLINICAL_LABELS,
    add_label_frames,
    add_segmentation,
    labels_of_node,
)
from CMRSimExtension.slicer_bridge.sequences import CineNodes, add_cine, browser_of, cine_of_node, sequence_of
from CMRSimExtension.slicer_bridge.stacks import stack_of_node
from CMRSimExtension.slicer_bridge.tables import CurveNodes, add_function_table, add_table, add_volume_curves


@dataclass(frozen=True)
class SegmentationNodes:
    """What one segmentation adds to the scene.

    Attributes
    ----------
    source
        Volume node that was segmented (a new one where a stack was put together).
    segmentation
        Segmentation node: the proxy of a sequence, or a node of its own for a single volume.
    sequence
        Its sequence and browser, or None for a single volume.
    function, curves
        Table and chart; None where there was no function to measure, or one frame only.
    """

    source: Any
    segmentation: Any
    sequence: CineNodes | None
    function: Any
    curves: CurveNodes | None


def read_input(node: Any, stack: bool) -> Cine:
    """The cine to segment: of the node, or of the stack that its series belongs to."""
    cine = cine_of_node(node)
    return stack_of_node(node) if stack else cine


def current_frame(node: Any) -> int:
    """The frame that a sequence's browser shows; 0 for a single volume."""
    sequence = sequence_of(node)
    browser = None if sequence is None else browser_of(sequence)
    return 0 if browser is None else max(0, int(browser.GetSelectedItemNumber()))


def nodes_of_input(node: Any, cine: Cine, stack: bool) -> CineNodes | None:
    """Sequence, browser and proxy that the labels join; None for a single volume.

    A stack and a MultiVolume are no sequences yet: they are added as one.
    """
    sequence = sequence_of(node)
    if stack or (sequence is None and cine.image.shape[0] > 1):
        return add_cine(cine, f"{node.GetName()} stack" if stack else node.GetName(), source=node)
    if sequence is None:
        return None
    browser = browser_of(sequence)
    if browser is None:
        return add_cine(cine, sequence.GetName(), source=None)
    return CineNodes(sequence, browser, browser.GetProxyNode(sequence))


def add_segmented(
    node: Any,
    cine: Cine,
    stack: bool,
    labels: NDArray[np.uint8],
    frames: Sequence[int],
    curves: FunctionCurves | None,
    name: str,
) -> SegmentationNodes:
    """Show labels as segmentation, table and chart beside their image.

    Parameters
    ----------
    labels
        (frames, slices, rows, columns): 1 LV blood pool, 2 LV myocardium, 3 RV blood pool.
    frames
        Those that were segmented.
    """
    shown = nodes_of_input(node, cine, stack)
    if shown is None:
        segmentation = add_segmentation(labels[0], cine.grid, name, source=node, present=CLINICAL_LABELS)
        sequence, source = None, node
    else:
        sequence = add_label_frames(
            labels, cine.grid, name, shown, present=CLINICAL_LABELS,
            frames_done=None if len(frames) == len(labels) else frames)
        segmentation, source = sequence.proxy, shown.proxy
        if len(frames) < len(labels):
            shown.browser.SetSelectedItemNumber(int(frames[0]))
    function = chart = None
    if curves is not None:
        function = add_function_table(curves.function, f"{name} function", source=source)
        if len(curves.frames) > 1:
            times = cine.times_ms
            axis = [float(frame) if times is None else float(times[:, frame].mean()) for frame in curves.frames]
            series = {"LV": curves.lv_ml, "Myocardium": curves.myocardium_ml, "RV": curves.rv_ml}
            chart = add_volume_curves(
                axis, {chamber: np.array(values) for chamber, values in series.items() if any(values)},
                f"{name} volume curves", source=source, time_title="Frame" if times is None else "Time (ms)")
    return SegmentationNodes(source, segmentation, sequence, function, chart)


def frames_to_compare(predicted: Any, reference: Any) -> dict[str, Any]:
    """``predicted``, ``reference`` (frames, slices, rows, columns) and ``spacing_mm`` of two segmentations.

    The reference is put on the predicted one's grid. A single segmentation is compared with the frame of the sequence
    that is on show.

    Raises
    ------
    InputError
        If either is missing, or they have different numbers of frames.
    """
    found, grid = labels_of_node(predicted)
    truth, _ = labels_of_node(reference, grid)
    frames = list(range(len(found)))
    if len(truth) == 1 and len(found) > 1:
        frames = [current_frame(predicted)]
        found = found[frames]
    elif len(found) == 1 and len(truth) > 1:
        truth = truth[[current_frame(reference)]]
    if len(found) != len(truth):
        raise InputError(
            f"'{predicted.GetName()}' has {len(found)} frames and '{reference.GetName()}' has {len(truth)}; choose a "
            "reference of the same cine")
    dx, dy, dz = grid.spacing_mm
    return {"predicted": found, "reference": truth, "spacing_mm": [dz, dy, dx], "frames": frames}


def add_comparison(rows: Sequence[dict[str, Any]], name: str, source: Any) -> Any:
    """Dice and HD95 per structure and frame as a table."""
    return add_table(
        name,
        {
            "Frame": [float(row["frame"]) for row in rows],
            "Structure": [str(row["structure"]) for row in rows],
            "Dice": [float(row["dice"]) for row in rows],
            "HD95 (mm)": [float(row["hd95_mm"]) for row in rows],
        },
        source=source, description="Comparison with a reference segmentation.")
