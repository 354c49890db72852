"""Cartesian k-space: from a finely sampled object to what the scanner acquires, and from that to an image.

Conventions: the object and the image fill the same field of view, with samples in the centres of their cells, so that
nothing shifts when their numbers differ. k-space index k of n runs from -(n // 2) upwards in cycles per field of view,
the centre first in the middle. The zero-frequency sample is the object's mean; an image made from all of k-space equals
the object.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, complex_dtype, linear, on_device_of
from CMRSimExtension.scanner.protocol import Protocol


def frequencies(count: int) -> NDArray[np.int64]:
    """(count,) k-space indices in cycles per field of view, ascending."""
    return np.arange(count) - count // 2


def apodisation(kind: str, strength: float, count: int) -> NDArray[np.float64]:
    """(count,) filter along one axis of k-space.

    ``hamming``: 0.54 + 0.46 cos(pi u); ``tukey``: a cosine taper of the outer third; ``fermi``: a Fermi edge at 0.9 of
    the half width, 0.05 wide; u is -1 to 1 over k-space. A `strength` below 1 mixes in the unfiltered k-space.
    """
    u = np.abs(frequencies(count)) / (count / 2)
    if kind == "none":
        window = np.ones(count)
    elif kind == "hamming":
        window = 0.54 + 0.46 * np.cos(np.pi * u)
    elif kind == "tukey":
        window = np.where(u > 2 / 3, 0.5 * (1 + np.cos(np.pi * np.clip((u - 2 / 3) * 3, 0.0, 1.0))), 1.0)
    elif kind == "fermi":
        window = 1 / (1 + np.exp((u - 0.9) / 0.05))
    else:
        raise InputError(f"filter is {kind!r}; choose from none, hamming, tukey, fermi")
    return 1 + strength * (window - 1)


@dataclass(frozen=True)
class CartesianEncoding:
    """The linear operators of a Cartesian acquisition, with their adjoints.

    They take NumPy arrays or torch tensors, on any device and differentiably, and give back the same kind.

    Attributes
    ----------
    object_shape, acquired_shape, image_shape
        (rows, columns) of the fine object, of k-space and of the image.
    sampled
        (acquired rows, acquired columns) bool: which samples are acquired (partial Fourier, undersampling), or None
        for all.
    window
        Same shape, real: apodisation and whatever else weights k-space before reconstruction, or None.
    workers
        Threads of NumPy's Fourier transform.

    Raises
    ------
    InputError
        Where the object or the image has fewer samples than k-space.
    """

    object_shape: tuple[int, int]
    acquired_shape: tuple[int, int]
    image_shape: tuple[int, int]
    sampled: NDArray[np.bool_] | None = None
    window: NDArray[np.floating] | None = None
    workers: int = 1
    _tables: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for axis, name in enumerate(("rows", "columns")):
            acquired = self.acquired_shape[axis]
            if self.object_shape[axis] < acquired:
                raise InputError(
                    f"the object has {self.object_shape[axis]} {name} but {acquired} are acquired; sample it finer"
                )
            if self.image_shape[axis] < acquired:
                raise InputError(
                    f"the image has {self.image_shape[axis]} {name} but {acquired} are acquired; enlarge its matrix"
                )

    @classmethod
    def of_protocol(
        cls, protocol: Protocol, object_shape: tuple[int, int], *, undersampled: bool = False, workers: int = 1
    ) -> "CartesianEncoding":
        """Acquired matrix, partial Fourier and apodisation of `protocol`, and its undersampling if `undersampled`."""
        shape = protocol.acquired_matrix
        rows, columns = (apodisation(protocol.filter, protocol.filter_strength, n) for n in shape)
        lines = partial_fourier_lines(shape[protocol.phase_axis], protocol.partial_fourier)
        if undersampled:
            lines &= uniform_lines(len(lines), protocol.acceleration)
        sampled = None if lines.all() else along_phase(lines, protocol, shape)
        return cls(object_shape, shape, protocol.matrix, sampled, np.outer(rows, columns), workers)

    def forward(self, objects: Any) -> Any:
        """k-space (..., acquired rows, acquired columns) of objects (..., rows, columns)."""
        self._expect(objects, self.object_shape, "object")
        return linear(objects, self._forward, self._forward_adjoint)

    def forward_adjoint(self, kspace: Any) -> Any:
        """The adjoint of `forward`, which is also its gradient: objects from k-space."""
        self._expect(kspace, self.acquired_shape, "k-space")
        return linear(kspace, self._forward_adjoint, self._forward)

    def reconstruct(self, kspace: Any) -> Any:
        """Image (..., rows, columns): k-space weighted by `window`, zero-filled and transformed."""
        self._expect(kspace, self.acquired_shape, "k-space")
        return linear(kspace, self._reconstruct, self._reconstruct_adjoint)

    def reconstruct_adjoint(self, images: Any) -> Any:
        """The adjoint of `reconstruct`, which is also its gradient: k-space from images."""
        self._expect(images, self.image_shape, "image")
        return linear(images, self._reconstruct_adjoint, self._reconstruct)

    def image(self, objects: Any) -> Any:
        """`reconstruct` of `forward`, the noise-free image, in one sweep."""
        self._expect(objects, self.object_shape, "object")
        return linear(objects, self._image, self._image_adjoint)

    def masked(self, kspace: Any) -> Any:
        """k-space (..., acquired rows, acquired columns) with zeros where nothing is acquired."""
        return kspace if self.sampled is None else kspace * self._table("sampled", kspace)

    def _forward(self, objects: Any) -> Any:
        return self._to_kspace("forward", objects)

    def _forward_adjoint(self, kspace: Any) -> Any:
        return self._from_kspace("forward adjoint", kspace, self.object_shape)

    def _reconstruct(self, kspace: Any) -> Any:
        return self._from_kspace("reconstruct", kspace, self.image_shape)

    def _reconstruct_adjoint(self, images: Any) -> Any:
        return self._to_kspace("reconstruct adjoint", images)

    def _image(self, objects: Any) -> Any:
        table, shape = self._table("image", objects), self.image_shape
        return _each(
            objects, shape, lambda image: padded_ifft(pruned_fft(image, table, self.workers), None, shape, self.workers)
        )

    def _image_adjoint(self, images: Any) -> Any:
        return self._forward_adjoint(self._reconstruct_adjoint(images))

    def _to_kspace(self, operator: str, arrays: Any) -> Any:
        table = self._table(operator, arrays)
        return _each(arrays, self.acquired_shape, lambda image: pruned_fft(image, table, self.workers))

    def _from_kspace(self, operator: str, kspace: Any, shape: tuple[int, int]) -> Any:
        table = self._table(operator, kspace)
        return _each(kspace, shape, lambda samples: padded_ifft(samples, table, shape, self.workers))

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(acquired rows, acquired columns) real: what each k-space sample counts in the image."""
        weights = np.ones(self.acquired_shape) if self.window is None else np.asarray(self.window, dtype=np.float64)
        return weights if self.sampled is None else weights * self.sampled

    @cached_property
    def noise_gain(self) -> float:
        """SD of the image's noise (real part) over that of each k-space sample (real part), which is white."""
        return float(np.sqrt(np.sum(self.weights**2)))

    def _table(self, operator: str, like: Any) -> Any:
        """Weights of an operator, in the precision, library and place of `like`."""
        key = (operator, str(like.dtype), str(getattr(like, "device", "cpu")))
        if key not in self._tables:
            self._tables[key] = beside(self._weights_of(operator), like)
        return self._tables[key]

    def _weights_of(self, operator: str) -> NDArray[Any]:
        if operator == "sampled":
            return np.asarray(self.sampled)
        scale = 1 / (self.object_shape[0] * self.object_shape[1])
        forward = scale * self._phase(self.object_shape)
        if self.sampled is not None:
            forward = forward * self.sampled
        reconstruct = np.conj(self._phase(self.image_shape))
        if self.window is not None:
            reconstruct = reconstruct * self.window
        if operator == "image":
            return np.asarray(forward * reconstruct)
        table = forward if operator.startswith("forward") else reconstruct
        return np.conj(table) if operator.endswith("adjoint") else table

    def _phase(self, shape: tuple[int, int]) -> NDArray[np.complex128]:
        """exp(-2 pi i k x0), x0 the position of the first sample in fields of view, for both axes."""
        rows, columns = (
            np.exp(-2j * np.pi * frequencies(k) * (0.5 / n - 0.5))
            for k, n in zip(self.acquired_shape, shape, strict=True)
        )
        return np.outer(rows, columns)

    @staticmethod
    def _expect(array: Any, shape: tuple[int, int], what: str) -> None:
        if tuple(array.shape[-2:]) != shape:
            raise InputError(
                f"the {what} has {tuple(array.shape[-2:])} rows and columns; this acquisition needs {shape}"
            )


def along_phase(lines: NDArray[np.bool_], protocol: Protocol, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """`lines` along the phase direction of `protocol`, as a mask of all of k-space."""
    return np.broadcast_to(lines[:, None] if protocol.phase_direction == "rows" else lines[None, :], shape)


def uniform_lines(count: int, acceleration: int) -> NDArray[np.bool_]:
    """(count,) every `acceleration`-th phase-encoding line, the centre of k-space among them."""
    return frequencies(count) % acceleration == 0


def partial_fourier_lines(count: int, fraction: float) -> NDArray[np.bool_]:
    """(count,) which phase-encoding lines are acquired: all from the highest index down, `fraction` of them."""
    skipped = int(np.floor(count * (1 - fraction) + 1e-9))
    return np.arange(count) >= skipped


def homodyne(kspace: Any, encoding: CartesianEncoding, phase_axis: int, fraction: float) -> Any:
    """Images from partial Fourier data by homodyne detection (Noll DC et al., IEEE Trans Med Imaging 1991;10:154-163).

    The asymmetric half of k-space counts twice, the symmetric centre once, the phase is taken from the centre, and the
    real part is the image. Negative values are kept: they are noise.

    Parameters
    ----------
    kspace
        (..., acquired rows, acquired columns), missing lines zero.
    phase_axis
        -2 for rows, -1 for columns.
    fraction
        The partial Fourier fraction of the data.
    """
    ramp, low_pass = homodyne_weights(encoding, phase_axis, fraction)
    full, centre = (encoding.reconstruct(kspace * beside(weights, kspace)) for weights in (ramp, low_pass))
    return in_phase(full, centre)


def homodyne_weights(
    encoding: CartesianEncoding, phase_axis: int, fraction: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of k-space, of a shape that broadcasts: twice what lacks its mirror image, and the symmetric centre."""
    count = encoding.acquired_shape[phase_axis]
    acquired = partial_fourier_lines(count, fraction)
    k = frequencies(count)
    mirrored = np.isin(-k, k[acquired])
    # The index -(n // 2) of an even matrix has no mirror image and stands for itself.
    ramp = np.where(acquired, np.where(mirrored | (2 * np.abs(k) == count), 1.0, 2.0), 0.0)
    shape = (count, 1) if phase_axis == -2 else (1, count)
    return ramp.reshape(shape), (acquired & mirrored).astype(np.float64).reshape(shape)


def noise_gain_of(encoding: CartesianEncoding, protocol: Protocol) -> float:
    """SD of the image's noise over that of each k-space sample, with the reconstruction that `protocol` asks for.

    Homodyne detection weighs some samples twice; its image is real, and the SD is that of the image itself.
    """
    if protocol.partial_fourier == 1 or protocol.partial_fourier_method == "zero_fill":
        return encoding.noise_gain
    ramp, _ = homodyne_weights(encoding, protocol.phase_axis, protocol.partial_fourier)
    return float(np.sqrt(np.sum((encoding.weights * ramp) ** 2)))


def in_phase(full: Any, reference: Any) -> Any:
    """The real part of `full` that is in phase with `reference`; zero where `reference` is, as are its gradients."""
    xp = array_namespace(full, reference)
    magnitude = xp.abs(reference)
    # Where there is no phase to follow, a division by one instead of by nothing keeps values and gradients finite.
    magnitude = xp.where(magnitude > np.finfo(np.float32).tiny, magnitude, xp.ones_like(magnitude))
    return xp.real(full * xp.conj(reference)) / magnitude


def _each(stack: Any, shape: tuple[int, int], work: Callable[[Any], Any]) -> Any:
    """`work` on every image of a NumPy stack by itself, on a torch batch at once.

    One image stays in cache; a stack of temporaries costs a processor twice the time.
    """
    if not isinstance(stack, np.ndarray) or stack.ndim == 2:
        return work(stack)
    result = np.empty((*stack.shape[:-2], *shape), dtype=complex_dtype(stack))
    flat, images = stack.reshape(-1, *stack.shape[-2:]), result.reshape(-1, *shape)
    for index in range(len(flat)):
        images[index] = work(flat[index])
    return result


def pruned_fft(arrays: Any, table: Any, workers: int = 1) -> Any:
    """Lowest frequencies of the unnormalised 2D transform of the last axes, ascending, times `table` of their shape."""
    xp = array_namespace(arrays)
    rows, columns = table.shape
    along = _fft(xp, xp.astype(arrays, complex_dtype(arrays), copy=False), -1, workers)
    # Columns that are not kept need no second transform.
    both = _fft(xp, _cropped(xp, along, columns), -2, workers)
    of, low_row, low_column = both.shape[-2], rows // 2, columns // 2
    if xp is not np:
        both = xp.concat([both[..., of - low_row :, :], both[..., : rows - low_row, :]], axis=-2)
        split = columns - low_column
        return xp.concat([both[..., split:], both[..., :split]], axis=-1) * table
    # The same four blocks, multiplied on their way to their places: no array is read twice.
    result = np.empty((*arrays.shape[:-2], rows, columns), dtype=both.dtype)
    for ascending_row, order_row in _halves(rows, of):
        for ascending, order in _halves(columns, columns):
            block = (..., ascending_row, ascending)
            np.multiply(both[..., order_row, order], table[block], out=result[block])
    return result


def padded_ifft(kspace: Any, table: Any, shape: tuple[int, int], workers: int = 1) -> Any:
    """Unnormalised inverse of k-space times `table` (None for one), in ascending order, zero-filled to `shape`.

    The adjoint of `pruned_fft` for the conjugate table.
    """
    xp = array_namespace(kspace)
    rows, columns = kspace.shape[-2:]
    if xp is not np:
        weighted = kspace if table is None else kspace * table
        split = columns // 2
        ordered = xp.concat([weighted[..., split:], weighted[..., :split]], axis=-1)
        ordered = _spread(
            xp, xp.concat([ordered[..., rows // 2 :, :], ordered[..., : rows // 2, :]], axis=-2), shape[0], -2
        )
    else:
        ordered = np.empty((*kspace.shape[:-2], shape[0], columns), dtype=complex_dtype(kspace))
        ordered[..., rows - rows // 2 : shape[0] - rows // 2, :] = 0
        for ascending_row, order_row in _halves(rows, shape[0]):
            for ascending, order in _halves(columns, columns):
                block = (..., ascending_row, ascending)
                np.multiply(kspace[block], 1 if table is None else table[block], out=ordered[..., order_row, order])
    down = _ifft(xp, ordered, -2, workers)
    return _ifft(xp, _spread(xp, down, shape[1], -1), -1, workers)


def _fft(xp: Any, array: Any, axis: int, workers: int) -> Any:
    if xp is np:
        # Along columns the array is a copy made for this transform, so it may be overwritten.
        return scipy.fft.fft(array, axis=axis, workers=workers, overwrite_x=axis == -2)
    return xp.fft.fft(array, axis=axis)


def _ifft(xp: Any, array: Any, axis: int, workers: int) -> Any:
    if xp is np:
        return scipy.fft.ifft(array, axis=axis, norm="forward", workers=workers, overwrite_x=True)
    return xp.fft.ifft(array, axis=axis, norm="forward")


def _halves(kept: int, of: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the frequencies below zero, and those from zero on, lie: ascending, and in transform order of `of`."""
    low = kept // 2
    return (slice(0, low), slice(of - low, of)), (slice(low, kept), slice(0, kept - low))


def _cropped(xp: Any, array: Any, kept: int) -> Any:
    """The `kept` lowest frequencies along the last axis, still in transform order."""
    of, low = array.shape[-1], kept // 2
    return array if kept == of else xp.concat([array[..., : kept - low], array[..., of - low :]], axis=-1)


def _spread(xp: Any, array: Any, of: int, axis: int) -> Any:
    """Zeros between the halves of an axis in transform order, up to length `of`."""
    kept = array.shape[axis]
    if of == kept:
        return array
    after = (slice(None),) * (-axis - 1)
    shape = list(array.shape)
    shape[axis] = of - kept
    zeros = xp.zeros(tuple(shape), dtype=array.dtype, **on_device_of(array))
    split = kept - kept // 2
    return xp.concat(
        [array[(..., slice(0, split), *after)], zeros, array[(..., slice(split, kept), *after)]], axis=axis
    )
