"""A segmentation or label volume of the scene, or a sequence of them, as the labels of an anatomy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.label_tables import structures_of_node
from CMRSimExtension.slicer_bridge.scene import require
from CMRSimExtension.slicer_bridge.segmentations import require_labels
from CMRSimExtension.slicer_bridge.sequences import sequence_of, times_of_sequence


@dataclass(frozen=True)
class SceneLabels:
    """Labels of the scene, to be scanned.

    Attributes
    ----------
    labels
        (frames, slices, rows, columns) `Structure` numbers.
    grid
        Their geometry, RAS.
    cycle_ms
        Heartbeat of a series with times; None for a single frame, a pair, and a series without times.
    """

    labels: NDArray[np.uint8]
    grid: ImageGrid
    cycle_ms: float | None


def labels_for_simulation(node: Any, label_map: str) -> SceneLabels:
    """Read the labels to scan; `label_map` says what the numbers of a label map volume mean.

    Raises
    ------
    InputError
        No node, nothing but background; and as `structures_of_node`.
    """
    node = require(
        node, ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"), "segmentation or label map volume")
    labels, grid = structures_of_node(node, label_map)
    require_labels(labels, node.GetName())
    return SceneLabels(labels, grid, heartbeat_ms(sequence_of(node)))


def heartbeat_ms(sequence: Any) -> float | None:
    """Duration of the heartbeat that a sequence shows: its frames are even, and the last is followed by the first."""
    if sequence is None or sequence.GetNumberOfDataNodes() < 3:  # of a pair, the second is at no known share
        return None
    times = times_of_sequence(sequence, slices=1)
    return None if times is None else float(times[0, -1] + np.diff(times[0]).mean())


def version_of(node: Any) -> tuple[int, ...]:
    """Numbers that change when the labels of a node do: reading a series again for every preview would be slow."""
    sequence = sequence_of(node)
    frames = [node] if sequence is None else [
        sequence.GetNthDataNode(frame) for frame in range(sequence.GetNumberOfDataNodes())]
    return tuple(_label_time(frame) for frame in frames)


def _label_time(node: Any) -> int:
    """When a node's voxels were last changed; a segmentation does not hear of every edit of its label maps."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return int(max(node.GetMTime(), node.GetImageData().GetMTime() if node.GetImageData() is not None else 0))
    segmentation = node.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    maps = [segment.GetRepresentation(name) for segment in segments]
    return int(max([node.GetMTime(), *(part.GetMTime() for part in (*segments, *maps) if part is not None)]))
