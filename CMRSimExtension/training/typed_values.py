"""Values of a YAML file as the fields they are for want them, or an error that names the cure."""

import math
import numbers
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from CMRSimExtension.errors import InputError

_WANTED: Mapping[type, str] = {
    float: "a number, such as 0.5 or 1.0e-3",
    int: "a whole number, such as 4",
    bool: "true or false",
    str: "a text",
}


def typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as a field annotated with `hint` takes it; of other annotations than plain ones it is given back.

    YAML reads ``1e-3`` as a text, for want of a dot: where a number is wanted it is one. Lists become tuples, and
    numbers of NumPy Python's.

    Parameters
    ----------
    where
        What the message calls the value.

    Raises
    ------
    InputError
        When the value is of another kind, no finite number, or a list of another length.

    Examples
    --------
    >>> typed(float, "1e-3", "optimisation: learning_rate")
    0.001
    >>> typed(tuple[float, float], [0.7, 1.4], "augmentation: scale")
    (0.7, 1.4)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(parts, value, where)
    if origin is tuple or (origin is not None and issubclass(origin, Sequence)):
        return _several(origin, parts, value, where)
    kind = origin or hint
    if kind in (Mapping, dict):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {value!r}; write a table of settings")
        return value
    if kind not in _WANTED:
        if value is None and isinstance(kind, type) and kind is not type(None):
            raise InputError(f"{where} is left empty; write its settings, or leave the line out")
        return value
    return _plain(kind, value, where)


def python_number(value: Any) -> Any:
    """A whole or real number of another library, such as ``np.int64(3)``, as Python's own; other values as they are.

    JSON and YAML know Python's alone.
    """
    if type(value) in (bool, int, float):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def _one_of(kinds: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    known = [kind for kind in kinds if kind is not type(None)]
    for kind in known[:-1]:
        try:
            return typed(kind, value, where)
        except InputError:
            continue
    return typed(known[-1], value, where)


def _several(origin: Any, parts: Sequence[Any], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where} is {value!r}; write a list, such as [a, b]")
    fixed = origin is tuple and Ellipsis not in parts
    if fixed and len(value) != len(parts):
        raise InputError(f"{where} is {list(value)}, which are {len(value)} values; write {len(parts)} of them")
    hints = list(parts) if fixed else [parts[0]] * len(value)
    return tuple(typed(hint, entry, f"{where}[{index}]") for index, (hint, entry) in
                 enumerate(zip(hints, value, strict=True)))  # fmt: skip


def _plain(kind: type, value: Any, where: str) -> Any:
    value = python_number(value)
    if kind is float and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # as `precision: 32`
    fits = isinstance(value, int | float if kind is float else kind) and (kind is bool) == isinstance(value, bool)
    if not fits or (kind is float and not math.isfinite(value)):
        raise InputError(f"{where} is {value!r}; write {_WANTED[kind]}")
    return value
