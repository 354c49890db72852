"""What labels mean: segments say it by id or name, the numbers of a label map volume by a label table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.label_maps import parse_label_map
from CMRSimExtension.files.unknown_labels import check_known_labels
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.segmentations import labels_of_node


def is_label_volume(node: Any) -> bool:
    """Whether a node's labels are numbers that need a table."""
    return node is not None and bool(node.IsA("vtkMRMLLabelMapVolumeNode"))


def structures_of_node(
    node: Any, label_map: str, grid: ImageGrid | None = None
) -> tuple[NDArray[np.uint8], ImageGrid]:
    """(frames, slices, rows, columns) `Structure` numbers of a segmentation or a label map volume, and their grid.

    Parameters
    ----------
    node, grid
        As `labels_of_node`.
    label_map
        What the numbers of a label map volume mean: ``cmrsim``, ``acdc``, ``mms``, or a table such as
        ``1=rv,2=myo,3=lv``.

    Raises
    ------
    InputError
        If the table cannot be read, or lacks a number; and as `labels_of_node`.
    """
    table = parse_label_map(label_map) if is_label_volume(node) else None
    labels, grid = labels_of_node(node, grid)
    if table is None:
        return labels, grid
    check_known_labels(
        labels, table, f"'{node.GetName()}'",
        "give a table that says what they are, such as acdc, mms or 1=rv,2=myo,3=lv")
    meaning = np.zeros(256, dtype=np.uint8)
    for number, structure in table.items():
        if number < len(meaning):
            meaning[number] = int(structure)
    return meaning[labels], grid
