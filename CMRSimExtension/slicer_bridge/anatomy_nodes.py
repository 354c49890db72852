"""A segmentation or label volume of the scene, or a sequence of them, as the labels of an anatomy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.label_maps import parse_label_map
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.scene import require
from CMRSimExtension.slicer_bridge.segmentations import labels_of_node, require_labels
from CMRSimExtension.slicer_bridge.sequences import sequence_of, times_of_sequence


@dataclass(frozen=True)
class SceneLabels:
    """Labels of the scene, to be scanned.

    Attributes
    ----------
    labels
        (frames, slices, rows, columns).
    grid
        Their geometry, RAS.
    label_map
        What the numbers mean.
    cycle_ms
        Heartbeat of a series with times; None for a single frame, a pair, and a series without times.
    """

    labels: NDArray[np.uint8]
    grid: ImageGrid
    label_map: str
    cycle_ms: float | None


def labels_for_simulation(node: Any, label_map: str) -> SceneLabels:
    """Read the labels to scan.

    The segments of a segmentation say themselves, by id or name, what they are; the numbers of a label volume are read
    by `label_map`.

    Raises
    ------
    InputError
        No node, an unknown segment, or a label map that cannot be read; nothing but background.
    """
    node = require(
        node, ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"), "segmentation or label map volume")
    by_number = node.IsA("vtkMRMLLabelMapVolumeNode")
    if by_number:
        parse_label_map(label_map)
    labels, grid = labels_of_node(node)
    require_labels(labels, node.GetName())
    return SceneLabels(labels, grid, label_map if by_number else "cmrsim", heartbeat_ms(sequence_of(node)))


def heartbeat_ms(sequence: Any) -> float | None:
    """Duration of the heartbeat that a sequence shows: its frames are even, and the last is followed by the first."""
    if sequence is None or sequence.GetNumberOfDataNodes() < 3:  # of a pair, the second is at no known share
        return None
    times = times_of_sequence(sequence, slices=1)
    return None if times is None else float(times[0, -1] + np.diff(times[0]).mean())


def version_of(node: Any) -> tuple[int, ...]:
    """Numbers that change when the labels of a node do: reading a series again for every preview would be slow."""
    sequence = sequence_of(node)
    frames = [] if sequence is None else [
        sequence.GetNthDataNode(frame) for frame in range(sequence.GetNumberOfDataNodes())]
    return tuple(
        max(frame.GetMTime(), frame.GetSegmentation().GetMTime() if frame.IsA("vtkMRMLSegmentationNode") else 0)
        for frame in (node, *frames))
