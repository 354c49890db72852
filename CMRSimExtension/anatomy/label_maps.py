"""Which structure each number of somebody's label image stands for."""

from collections.abc import Mapping

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError

LabelMap = Mapping[int, Structure]
"""Label number -> structure. 0 is background unless it is given."""

LABEL_MAPS: dict[str, dict[int, Structure]] = {
    "acdc": {1: Structure.RV_BLOOD, 2: Structure.LV_MYOCARDIUM, 3: Structure.LV_BLOOD},
    "mms": {1: Structure.LV_BLOOD, 2: Structure.LV_MYOCARDIUM, 3: Structure.RV_BLOOD},
    "cmrsim": {int(s): s for s in Structure if s is not Structure.OUTSIDE},
}
"""Presets: ACDC challenge (Bernard et al., IEEE TMI 2018), M&Ms challenge (Campello et al., IEEE TMI 2021), and the
numbers this project itself writes (clinical labels are the first three of them)."""

_ALIASES: dict[str, Structure] = {
    "lv": Structure.LV_BLOOD,
    "lvb": Structure.LV_BLOOD,
    "lv_pool": Structure.LV_BLOOD,
    "lvbp": Structure.LV_BLOOD,
    "lvc": Structure.LV_BLOOD,
    "myo": Structure.LV_MYOCARDIUM,
    "myocardium": Structure.LV_MYOCARDIUM,
    "lvm": Structure.LV_MYOCARDIUM,
    "mlv": Structure.LV_MYOCARDIUM,
    "lv_myo": Structure.LV_MYOCARDIUM,
    "rv": Structure.RV_BLOOD,
    "rvb": Structure.RV_BLOOD,
    "rv_pool": Structure.RV_BLOOD,
    "rvm": Structure.RV_MYOCARDIUM,
    "rv_myo": Structure.RV_MYOCARDIUM,
    "la": Structure.LA_BLOOD,
    "ra": Structure.RA_BLOOD,
    "ao": Structure.AORTA,
    "pa": Structure.PULMONARY_ARTERY,
    "fat": Structure.EPICARDIAL_FAT,
    "background": Structure.OUTSIDE,
    "air": Structure.OUTSIDE,
}


def structure_named(name: str) -> Structure:
    """The structure of a short name (``lv``, ``myo``, ``rv``, ``la`` ...) or of a `Structure` member's name.

    Raises
    ------
    InputError
        If there is no such structure.
    """
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    if key in _ALIASES:
        return _ALIASES[key]
    try:
        return Structure[key.upper()]
    except KeyError:
        known = ", ".join([*_ALIASES, *(s.name.lower() for s in Structure)])
        raise InputError(f"no structure is called {name!r}; known are: {known}") from None


def parse_label_map(text: str) -> dict[int, Structure]:
    """Read a preset's name or a table such as ``1=rv,2=myo,3=lv``.

    Parameters
    ----------
    text
        ``acdc``, ``mms``, ``cmrsim``, or label=structure pairs with commas between them.

    Raises
    ------
    InputError
        If the text is neither, names an unknown structure, or gives a label twice.

    Examples
    --------
    >>> parse_label_map("1=rv, 2=myo, 3=lv") == LABEL_MAPS["acdc"]
    True
    """
    if text.strip().lower() in LABEL_MAPS:
        return dict(LABEL_MAPS[text.strip().lower()])
    table: dict[int, Structure] = {}
    for pair in text.split(","):
        number, equals, name = pair.partition("=")
        if not equals or not number.strip().isdigit():
            raise InputError(
                f"label map {text!r}: {pair.strip()!r} is not of the form number=structure; "
                f"write for example 1=rv,2=myo,3=lv, or one of the presets {', '.join(LABEL_MAPS)}"
            )
        label = int(number)
        if label in table:
            raise InputError(f"label map {text!r} gives label {label} twice; each label stands for one structure")
        table[label] = structure_named(name)
    return table
