"""How a person's sex may be spelt, wherever it is asked for."""

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
