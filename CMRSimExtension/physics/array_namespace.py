"""One way to write numerics that run unchanged on NumPy and on torch: the Python array API.

NumPy 2 is its own array API namespace. torch is reached through ``array-api-compat``, which is imported only when a
torch tensor is met.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError, MissingDependencyError

__all__ = [
    "array_namespace", "as_arrays", "beside", "complex_dtype", "is_torch", "linear", "on_device_of", "real_dtype",
    "to_numpy",
]  # fmt: skip


def is_torch(value: object) -> bool:
    """Whether `value` is a torch tensor (or of a class made from it), found out without importing torch."""
    kind: Any = type(value)
    return _made_from_tensor(kind)


@lru_cache(maxsize=256)
def _made_from_tensor(kind: Any) -> bool:
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in kind.__mro__)


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
        if type(value) is np.ndarray:
            continue
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


def real_dtype(array: Any) -> Any:
    """The real floating type of an array's precision: float32 for float32 and complex64, else float64."""
    xp = array_namespace(array)
    return xp.float32 if array.dtype in (xp.float32, xp.complex64) else xp.float64


def complex_dtype(array: Any) -> Any:
    """The complex type of an array's precision: complex64 for float32 and complex64, else complex128."""
    xp = array_namespace(array)
    return xp.complex64 if array.dtype in (xp.float32, xp.complex64) else xp.complex128


def beside(value: Any, like: Any) -> Any:
    """A NumPy array as a constant of the library and on the device of `like`.

    Floating-point values take the precision of `like`, so that a table never changes what is computed with it; whole
    numbers and truth values keep their type. Tensors are handed back as they are.
    """
    if is_torch(value):
        return value
    xp, array = array_namespace(like), np.asarray(value)
    if array.dtype.kind in "fc":
        # NumPy's own types: the precision is changed before anything is sent to a device.
        single = real_dtype(like) == xp.float32
        kinds = {"f": (np.float32, np.float64), "c": (np.complex64, np.complex128)}[array.dtype.kind]
        array = array.astype(kinds[0] if single else kinds[1], copy=False)
    if not is_torch(like):
        return array if xp is np else xp.asarray(array)
    import torch

    # A constant first met in inference mode must serve a training step later.
    with torch.inference_mode(False):
        return torch.asarray(np.array(array), device=like.device)


def on_device_of(array: Any) -> dict[str, Any]:
    """Keywords with which a new array comes to lie where `array` does; none for NumPy."""
    return {"device": array.device} if is_torch(array) else {}


def linear(values: Any, apply: Callable[[Any], Any], adjoint: Callable[[Any], Any]) -> Any:
    """`apply` of `values`, a linear operator whose gradient is `adjoint`.

    With this the gradient of an operator is the adjoint that it comes with, whatever the operator is made of.

    Parameters
    ----------
    values
        (..., whatever the operator acts on). Tensors are taken as complex.
    apply, adjoint
        The operator and its adjoint, from and to complex arrays, batched over leading axes. They meet tensors without
        gradients.

    Returns
    -------
    array
        Tensors can be differentiated, any number of times, forwards and backwards, and mapped with ``torch.vmap``.
    """
    if not is_torch(values):
        return apply(values)
    return _linear_function().apply(values.to(complex_dtype(values)), apply, adjoint)


@cache
def _linear_function() -> Any:
    import torch

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(values: Any, apply: Any, adjoint: Any) -> Any:
            return apply(values)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            _, ctx.operator, ctx.adjoint = inputs

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return Linear.apply(gradients[0], ctx.adjoint, ctx.operator), None, None

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            return Linear.apply(tangents[0], ctx.operator, ctx.adjoint)

        @staticmethod
        def vmap(info: Any, in_dims: Any, values: Any, apply: Any, adjoint: Any) -> Any:
            return Linear.apply(values.movedim(in_dims[0], 0), apply, adjoint), 0

    return Linear


def to_numpy(value: Any) -> np.ndarray:
    """`value` as a NumPy array on the CPU, without its gradient."""
    if is_torch(value):
        return np.asarray(value.detach().cpu().numpy())
    return np.asarray(value)
