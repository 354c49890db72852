"""Label numbers that a table does not know, and labels in place of an image: refused in words for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from CMRSimExtension.anatomy.label_maps import LABEL_MAPS
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError

_SHOWN = 5
_MOST_LABELS = 32
"""A label file has a handful of numbers beyond its table, an image hundreds."""
_FEWEST_VALUES = 16
"""Different whole numbers up to 255 that an image has; with fewer it is a label map."""


def label_map_name(table: Mapping[int, int]) -> str:
    """A label table as ``--labels-map`` takes it: the preset's name, or number=structure pairs.

    Of a long table the first five pairs and the count of the others are named.

    Examples
    --------
    >>> label_map_name({1: 3, 2: 2, 3: 1}), label_map_name({7: 1})
    ('acdc', '7=lv_blood')
    """
    numbers = {int(number): int(structure) for number, structure in table.items()}
    for name, preset in LABEL_MAPS.items():
        if numbers == {number: int(structure) for number, structure in preset.items()}:
            return name
    names = {int(structure): structure.name.lower() for structure in Structure}
    pairs = [f"{number}={names.get(structure, structure)}" for number, structure in numbers.items()]
    return ",".join(pairs[:_SHOWN]) + _others(pairs)


def _others(values: Sequence[object]) -> str:
    """What is said of those beyond the first that are shown."""
    return f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""


def check_known_labels(values: ArrayLike, table: Mapping[int, int], name: str, cure: str) -> None:
    """Refuse label numbers, other than 0, that a table lacks.

    Parameters
    ----------
    values
        Labels of any shape.
    table
        Label number -> structure.
    name
        What the labels are called.
    cure
        What to do about numbers that the table lacks, in the imperative.

    Raises
    ------
    InputError
        The table lacks one or more: the first five and their count are named. So many that it must be an image are
        called so. Or a value is no whole number: a fraction, infinite or NaN.
    """
    found = np.unique(values)
    broken = found[~np.isfinite(found) | (found != np.round(found))]
    if broken.size:
        raise InputError(
            f"{name} holds values that are no whole numbers, such as {broken[0]:g}, so it is no label file; give the "
            "file of its labels, saved as whole numbers"
        )
    unknown = sorted({int(value) for value in found} - {0, *table})
    if not unknown:
        return
    shown = ", ".join(map(str, unknown[:_SHOWN]))
    if len(unknown) > _MOST_LABELS:
        cure = "so many numbers look like an image rather than labels: give the file of its labels"
    raise InputError(
        f"{name} holds the labels {shown}{_others(unknown)}, which the label table '{label_map_name(table)}' lacks; "
        f"{cure}"
    )


def refuse_label_map(image: NDArray[Any]) -> None:
    """Raise `InputError` where the values of an image, finite and of any shape, are those of a label map."""
    low, high = float(image.min()), float(image.max())
    if low < 0.0 or high > 255.0:
        return
    whole = image.astype(np.uint8)
    if not np.array_equal(whole, image):
        return
    values = np.count_nonzero(np.bincount(whole.ravel()))
    if values < _FEWEST_VALUES:
        raise InputError(
            f"the image holds {values} different whole numbers, {low:g} to {high:g}, fewer than {_FEWEST_VALUES}: "
            "it looks like a label map; give the image that the labels belong to"
        )
