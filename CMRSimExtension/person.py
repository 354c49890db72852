"""How a person's sex may be spelt, wherever it is asked for, and what must be known of a person together."""

from typing import Literal

from CMRSimExtension.errors import InputError

_SEXES: dict[str, Literal["F", "M"]] = {"female": "F", "male": "M", "F": "F", "M": "M"}

SEX_SPELLINGS = tuple(_SEXES)
"""What every command and configuration file takes; records hold the single letters."""


def parse_sex(text: str) -> Literal["F", "M"]:
    """``F`` or ``M``, from any of `SEX_SPELLINGS`.

    Raises
    ------
    InputError
        It is none of them.
    """
    if text not in _SEXES:
        *most, last = SEX_SPELLINGS
        raise InputError(f"sex is {text!r}; give {', '.join(most)} or {last}, as the reference values know these two")
    return _SEXES[text]


OLDEST_YEARS = 120.0
"""Nobody is known to have been much older."""


def check_person(sex: str | None, age_years: float | None, height_cm: float | None, weight_kg: float | None) -> None:
    """Raise where what is told of a person does not do for what it is for: indexed values, and normal ranges.

    Limits of height and weight are those of `evaluation.function.body_surface_m2`.

    Parameters
    ----------
    sex, age_years, height_cm, weight_kg
        None where not known.

    Raises
    ------
    InputError
        The sex is spelt otherwise than `SEX_SPELLINGS`, the age is none, or one of height and weight, or of sex and
        age, is given without the other.
    """
    if sex is not None:
        parse_sex(sex)
    if age_years is not None and not 0.0 <= age_years <= OLDEST_YEARS:  # also catches NaN
        raise InputError(f"age {age_years} years: give 0 to {OLDEST_YEARS:g}")
    for first, second, use in (
        (("height", height_cm), ("weight", weight_kg), "index volumes"),
        (("sex", sex), ("age", age_years), "tell normal ranges"),
    ):
        if (first[1] is None) != (second[1] is None):
            given, missing = (first[0], second[0]) if second[1] is None else (second[0], first[0])
            raise InputError(
                f"{given} is given and {missing} is not, and both are needed to {use}; give both or neither"
            )
