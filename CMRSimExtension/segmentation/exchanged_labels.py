"""Whether a reference counts the LV as RV and the RV as LV: the usual mistake of a label table."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_FAR = 0.3
"""Gain of the mean Dice of both blood pools from which they are taken for exchanged. A segmentation that confuses them
in part, as failing ones do, gains less."""


def note_on_exchanged_pools(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], labels_map: str, *, in_panel: bool = False
) -> list[str]:
    """A sentence where prediction and reference agree far better with LV and RV blood pool exchanged; else none.

    Parameters
    ----------
    pairs
        Labels of a prediction and its reference, of any shape, in this library's numbers; all are taken together.
    labels_map
        What the reference's numbers were said to mean: the name of a preset, or a table.
    in_panel
        The sentence is for the panel of CMRSegment, whose field for this is its label table; else for the command line.
    """
    shared, sizes = np.zeros((2, 2)), np.zeros((2, 2))
    for predicted, reference in pairs:
        ours, theirs = ([labels == pool for pool in (1, 3)] for labels in (predicted, reference))
        shared += [[np.count_nonzero(one & other) for other in theirs] for one in ours]
        sizes += [[np.count_nonzero(mask) for mask in side] for side in (ours, theirs)]
    if not sizes.all():
        return []  # of one blood pool alone nothing can be told
    dice = 2.0 * shared / (sizes[0][:, None] + sizes[1][None, :])
    as_is, exchanged = float(dice[[0, 1], [0, 1]].mean()), float(dice[[0, 1], [1, 0]].mean())
    if exchanged - as_is <= _FAR:
        return []
    return [
        "LV and RV blood pool of the reference agree far better with the prediction when they are exchanged (mean Dice "
        f"{exchanged:.2f}, as it is {as_is:.2f}); {_advice(labels_map, in_panel)}"
    ]


def _advice(labels_map: str, in_panel: bool) -> str:
    name = labels_map.strip().lower()
    if name == "acdc":
        cure = "set the label table to cmrsim" if in_panel else "leave --labels-map out"
        return f"if 1 is the LV and 3 the RV in it, as in this library's files and those of M&Ms, {cure}"
    if name in ("cmrsim", "mms"):
        cure = "set the label table to acdc" if in_panel else "add --labels-map acdc"
        return f"if 1 is the RV and 3 the LV in it, as in ACDC's files, {cure}"
    return f"see whether {'the label table' if in_panel else '--labels-map'} {labels_map} gives each its number"
