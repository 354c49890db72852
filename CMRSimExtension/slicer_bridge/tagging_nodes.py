"""CMRTagged's work between its parameters and the scene."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.label_tables import structures_of_node
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, require_labels
from CMRSimExtension.slicer_bridge.sequences import CineNodes, add_cine
from CMRSimExtension.slicer_bridge.transforms import add_motion, displacement_of_node
from CMRSimExtension.slicer_bridge.volumes import require_same_grid


@dataclass(frozen=True)
class TaggedNodes:
    """What one tagging adds to the scene; labels and motion are None where there are none."""

    cine: CineNodes
    labels: CineNodes | None
    motion: CineNodes | None


def labels_for_tagging(node: Any, label_map: str, cine: Cine) -> NDArray[np.uint8]:
    """Labels on the cine's grid: (frames, slices, rows, columns), or without the first axis at end diastole alone.

    Where some frames are labelled and others not (end diastole and end systole, say), only those of end diastole are
    taken: the motion carries them along.

    Raises
    ------
    InputError
        If there is no labelled voxel where the cine is, the frames are neither one nor as many as the cine's, or end
        diastole is not labelled; and as `structures_of_node`.
    """
    labels, _ = structures_of_node(node, label_map, cine.grid)
    require_labels(labels, node.GetName())
    labelled = np.array([frame.any() for frame in labels])
    if not labelled[0]:
        raise InputError(
            f"frame 0 of '{node.GetName()}', end diastole, has no labels; segment it, or all frames")
    if len(labels) == len(cine.image) and labelled.all():
        return labels
    if len(labels) in (1, len(cine.image)):
        frame: NDArray[np.uint8] = labels[0]
        return frame
    raise InputError(
        f"segmentation '{node.GetName()}' has {len(labels)} frames and the cine {len(cine.image)}; choose the "
        "segmentation of this cine, or one of its end diastole")


def motion_for_tagging(node: Any, cine: Cine) -> NDArray[np.float32]:
    """True displacement of every frame from a sequence of grid transforms.

    Raises
    ------
    InputError
        If it belongs to another cine.
    """
    displacement, grid = displacement_of_node(node)
    require_same_grid(grid, cine.grid, f"the motion '{node.GetName()}' and the cine")
    if len(displacement) != len(cine.image):
        raise InputError(
            f"the motion '{node.GetName()}' has {len(displacement)} frames and the cine {len(cine.image)}; choose the "
            "motion of this cine")
    return displacement


def add_tagged(cine: Cine, name: str, source: Any, keep_motion: bool) -> TaggedNodes:
    """Show a tagged cine, its labels and, if asked, the motion its tags follow, beside `source` if there is one."""
    nodes = add_cine(cine, name, source=source)
    labels = motion = None
    if cine.labels is not None:
        labels = add_label_frames(cine.labels, cine.grid, f"{name} heart", nodes)
    if keep_motion and cine.displacement_mm is not None:
        motion = add_motion(cine.displacement_mm, cine.grid, f"{name} motion", nodes)
    return TaggedNodes(nodes, labels, motion)
