"""Which label number a network's class has in every file, by its name."""

from collections.abc import Mapping, Sequence

from CMRSimExtension.anatomy.label_maps import structure_named
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.terminology import term_of
from CMRSimExtension.errors import InputError

COMPOUNDS: Mapping[str, tuple[Structure, str]] = {
    "lung": (Structure.LUNG_LEFT, "Lungs"),
    "body_wall": (Structure.BODY_FAT, "Body wall"),
}
"""Classes of several structures that have no number of their own (P2's pre-training): the structure whose number they
have in every file, and what they are called."""


def labels_of_classes(classes: Sequence[str]) -> dict[int, int]:
    """Class number, from 1 -> label number, which is the number of the `Structure` that a class is called by.

    Raises
    ------
    InputError
        When a class is called by no structure or by the background, or two would have the same number.

    Examples
    --------
    >>> labels_of_classes(["lv_myocardium", "lung"])
    {1: 2, 2: 40}
    """
    named: dict[int, str] = {}
    for name in classes:
        label = _label_of(name)
        if label in named:
            raise InputError(
                f"the classes {named[label]!r} and {name!r} both have the label {label} in files; name each class once"
            )
        named[label] = name
    return dict(enumerate(named, 1))


def name_of_class(label: int, name: str) -> str:
    """What a reader sees for the class called `name`, whose label in files is `label`."""
    if name in COMPOUNDS:
        return COMPOUNDS[name][1]
    return term_of(label).name


def _label_of(name: str) -> int:
    if name in COMPOUNDS:
        return int(COMPOUNDS[name][0])
    try:
        structure = structure_named(name)
    except (InputError, AttributeError) as error:
        raise InputError(
            f"a class is called {name!r}, which has no label in files; name it lv_blood, lv_myocardium, rv_blood, "
            f"{', '.join(COMPOUNDS)} or by another structure, such as la_blood, liver or lesion (the members of "
            "CMRSimExtension.anatomy.structures.Structure)"
        ) from error
    if structure is Structure.OUTSIDE:
        raise InputError(f"a class is called {name!r}, which is the background; leave it out, every network has one")
    return int(structure)
