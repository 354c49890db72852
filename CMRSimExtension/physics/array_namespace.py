"""One way to write numerics that run unchanged on NumPy and on torch: the Python array API.

NumPy 2 is its own array API namespace. torch is reached through ``array-api-compat``, which is imported only when a
torch tensor is met.
"""

from types import ModuleType
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError, MissingDependencyError

__all__ = ["array_namespace", "as_arrays", "is_torch", "to_numpy"]


def is_torch(value: object) -> bool:
    """Whether `value` is a torch tensor, found out without importing torch."""
    return type(value).__module__.split(".", 1)[0] == "torch"


def array_namespace(*values: object) -> ModuleType:
    """The array API namespace of `values`: torch's if any is a tensor, another library's own, else NumPy.

    Raises
    ------
    MissingDependencyError
        For torch tensors without ``array-api-compat``.
    InputError
        For arrays of two foreign libraries at once.
    """
    namespaces: dict[str, ModuleType] = {}
    for value in values:
        if is_torch(value):
            try:
                import array_api_compat.torch as torch_namespace
            except ImportError as error:
                raise MissingDependencyError(
                    "torch tensors need array-api-compat, which is missing; pip install 'CMRSimExtension[segment]'"
                ) from error
            namespaces["torch"] = torch_namespace
        elif hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray | np.generic):
            found = value.__array_namespace__()
            namespaces[found.__name__] = found
    if len(namespaces) > 1:
        raise InputError(f"arrays of {' and '.join(sorted(namespaces))} cannot be mixed; convert them to one library")
    return next(iter(namespaces.values()), np)


def as_arrays(*values: Any) -> tuple[ModuleType, list[Any]]:
    """Turn numbers and arrays into floating-point arrays of one library, one precision and one device.

    Python numbers take the precision of the arrays they meet, so that ``float32`` in stays ``float32`` out; with no
    array among the values it is ``float64``.

    Returns
    -------
    namespace, arrays
        The array API namespace and the values as its arrays, in order.
    """
    xp = array_namespace(*values)
    arrays = [value for value in values if hasattr(value, "dtype")]
    dtypes = {str(a.dtype).split(".")[-1] for a in arrays}
    floating = dtypes & {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
    # Integer arrays carry no precision of their own; half precision cannot hold the exponentials of these equations.
    single = bool(floating) and not floating & {"float64", "complex128"}
    dtype = xp.float32 if single else xp.float64
    device = next((a.device for a in arrays if is_torch(a)), None)
    keywords = {"device": device} if device is not None else {}
    converted = []
    for value in values:
        array = xp.asarray(value, **keywords) if not is_torch(value) or xp is np else value
        if str(array.dtype).split(".")[-1] not in ("complex64", "complex128"):
            array = xp.astype(array, dtype)
        converted.append(array)
    return xp, converted


def to_numpy(value: Any) -> np.ndarray:
    """`value` as a NumPy array on the CPU, without its gradient."""
    if is_torch(value):
        return np.asarray(value.detach().cpu().numpy())
    return np.asarray(value)
