"""Label numbers that a table does not know: refused in words that a person can read."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from CMRSimExtension.anatomy.label_maps import LABEL_MAPS
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError

_SHOWN = 5
_MOST_LABELS = 32
"""A label file has a handful of numbers beyond its table, an image hundreds."""


def label_map_name(table: Mapping[int, int]) -> str:
    """A label table as ``--labels-map`` takes it: the preset's name, or number=structure pairs.

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
    return ",".join(f"{number}={names.get(structure, structure)}" for number, structure in numbers.items())


def check_known_labels(values: ArrayLike, table: Mapping[int, int], name: str, cure: str) -> None:
    """Refuse label numbers, other than 0, that a table lacks.

    Parameters
    ----------
    values
        Labels of any shape, whole numbers.
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
        called so.
    """
    unknown = sorted({int(value) for value in np.unique(values)} - {0, *table})
    if not unknown:
        return
    shown = ", ".join(map(str, unknown[:_SHOWN]))
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    if len(unknown) > _MOST_LABELS:
        cure = "so many numbers look like an image rather than labels: give the file of its labels"
    raise InputError(
        f"{name} holds the labels {shown}{more}, which the label table '{label_map_name(table)}' lacks; {cure}"
    )
