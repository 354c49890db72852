"""CMRSegment's work between its parameters and the scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.jobs import function_curves
from CMRSimExtension.slicer_bridge.maps import add_map
from CMRSimExtension.slicer_bridge.measuring import FunctionNodes, add_function
from CMRSimExtension.slicer_bridge.segmentations import (
    CLINICAL_LABELS,
    add_label_frames,
    add_segmentation,
    labels_present,
)
from CMRSimExtension.slicer_bridge.sequences import (
    CineNodes,
    add_cine,
    browser_of,
    cine_of_node,
    is_multivolume,
    sequence_of,
)
from CMRSimExtension.slicer_bridge.stacks import stack_of_node
from CMRSimExtension.slicer_bridge.tables import CurveNodes


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
    maps
        Volume nodes of uncertainty and probability, where they were asked for.
    """

    source: Any
    segmentation: Any
    sequence: CineNodes | None
    function: Any
    curves: CurveNodes | None
    maps: tuple[Any, ...] = ()


def read_input(node: Any, stack: bool) -> Cine:
    """The cine to segment: of the node, or of the stack that its series belongs to."""
    cine = cine_of_node(node)
    return stack_of_node(node) if stack else cine


def current_frame(node: Any) -> int:
    """The frame that a sequence's browser, or the display of a MultiVolume, shows; 0 for a single volume.

    Raises
    ------
    InputError
        If the display of a MultiVolume does not tell.
    """
    if is_multivolume(node):
        shown = getattr(node.GetDisplayNode(), "GetFrameComponent", None)
        if shown is None:
            raise InputError(
                f"which frame of MultiVolume '{node.GetName()}' is on show is not known; choose all frames, or end "
                "diastole and end systole")
        return int(shown())
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


def add_segmented(node: Any, cine: Cine, stack: bool, result: dict[str, Any], name: str) -> SegmentationNodes:
    """Show what the ``segment`` job found as segmentation, table, chart and maps beside their image.

    Parameters
    ----------
    node, cine, stack
        What was segmented.
    result
        The job's values.
    """
    labels, frames = result["labels"], result["frames"]
    # The three that function is measured from, also where they were not found, and what else the model tells apart.
    present = tuple(sorted({*CLINICAL_LABELS, *labels_present(labels)}))
    shown = nodes_of_input(node, cine, stack)
    if shown is None:
        segmentation = add_segmentation(labels[0], cine.grid, name, source=node, present=present)
        sequence, source = None, node
    else:
        sequence = add_label_frames(
            labels, cine.grid, name, shown, present=present,
            frames_done=None if len(frames) == len(labels) else frames)
        segmentation, source = sequence.proxy, shown.proxy
        if len(frames) < len(labels):
            shown.browser.SetSelectedItemNumber(int(frames[0]))
    maps = tuple(
        add_map(_all_frames(values, frames, len(labels)), cine.grid, f"{name} {what}", source, shown)
        for what, values in result["maps_percent"].items())
    function = FunctionNodes(None, None)
    curves = function_curves(result["curves"])
    if curves is not None:
        times = None if cine.times_ms is None else cine.times_ms.mean(axis=0)
        function = add_function(segmentation, curves, times, result["normal_ranges"], name)
    return SegmentationNodes(source, segmentation, sequence, function.table, function.curves, maps)


def _all_frames(values: NDArray[np.uint8], frames: Sequence[int], count: int) -> NDArray[np.uint8]:
    """Maps of the frames that were segmented, and 0 in the others, so that they keep step with the cine."""
    result = np.zeros((count, *values.shape[1:]), dtype=values.dtype)
    result[list(frames)] = values
    return result
