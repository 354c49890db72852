"""A segmentation or label volume of the scene as the labels of an anatomy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.label_maps import parse_label_map
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.scene import require
from CMRSimExtension.slicer_bridge.segmentations import labels_of_node, require_labels


def labels_for_simulation(node: Any, label_map: str) -> tuple[NDArray[np.uint8], ImageGrid, str]:
    """(frames, slices, rows, columns) labels, their grid, and the label map that says what they mean.

    The segments of a segmentation say it themselves, by id or name; the numbers of a label volume are read by
    `label_map`.

    Raises
    ------
    InputError
        No node, an unknown segment, or a label map that cannot be read; nothing but background.
    """
    node = require(
        node, ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"), "segmentation or label map volume")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        parse_label_map(label_map)
    labels, grid = labels_of_node(node)
    require_labels(labels, node.GetName())
    return labels, grid, label_map if node.IsA("vtkMRMLLabelMapVolumeNode") else "cmrsim"
