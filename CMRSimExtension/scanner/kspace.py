"""Cartesian k-space: from a finely sampled object to what the scanner acquires, and from that to an image.

Conventions: the object and the image fill the same field of view, with samples in the centres of their cells, so that
nothing shifts when their numbers differ. k-space index k of n runs from -(n // 2) upwards in cycles per field of view,
the centre first in the middle. The zero-frequency sample is the object's mean; an image made from all of k-space equals
the object.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
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
        Threads of the Fourier transform.

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
    _tables: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

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
    def of_protocol(cls, protocol: Protocol, object_shape: tuple[int, int], workers: int = 1) -> "CartesianEncoding":
        """Acquired matrix, partial Fourier and apodisation of `protocol`, undersampling left out."""
        shape = protocol.acquired_matrix
        rows, columns = (apodisation(protocol.filter, protocol.filter_strength, n) for n in shape)
        window = np.outer(rows, columns)
        sampled = None
        if protocol.partial_fourier < 1:
            sampled = np.ones(shape, dtype=bool)
            lines = partial_fourier_lines(shape[protocol.phase_axis], protocol.partial_fourier)
            sampled &= lines[:, None] if protocol.phase_direction == "rows" else lines[None, :]
        return cls(object_shape, shape, protocol.matrix, sampled, window, workers)

    def forward(self, objects: NDArray[Any]) -> NDArray[np.complexfloating]:
        """k-space (..., acquired rows, acquired columns) of objects (..., rows, columns)."""
        self._expect(objects, self.object_shape, "object")
        kspace = _pruned_fft(objects, self.acquired_shape, self.workers)
        kspace *= self._phase("object", kspace.dtype, scale=1 / (self.object_shape[0] * self.object_shape[1]))
        return kspace if self.sampled is None else kspace * self.sampled

    def forward_adjoint(self, kspace: NDArray[Any]) -> NDArray[np.complexfloating]:
        """The adjoint of `forward`: objects from k-space."""
        self._expect(kspace, self.acquired_shape, "k-space")
        scale = 1 / (self.object_shape[0] * self.object_shape[1])
        weighted = kspace * np.conj(self._phase("object", _complex(kspace), scale=scale))
        if self.sampled is not None:
            weighted = weighted * self.sampled
        return _padded_ifft(weighted, self.object_shape, self.workers)

    def reconstruct(self, kspace: NDArray[Any]) -> NDArray[np.complexfloating]:
        """Image (..., rows, columns): k-space weighted by `window`, zero-filled and transformed."""
        self._expect(kspace, self.acquired_shape, "k-space")
        weighted = kspace * np.conj(self._phase("image", _complex(kspace)))
        return _padded_ifft(self._windowed(weighted), self.image_shape, self.workers)

    def reconstruct_adjoint(self, images: NDArray[Any]) -> NDArray[np.complexfloating]:
        """The adjoint of `reconstruct`: k-space from images."""
        self._expect(images, self.image_shape, "image")
        kspace = _pruned_fft(images, self.acquired_shape, self.workers)
        return self._windowed(kspace * self._phase("image", kspace.dtype))

    def image(self, objects: NDArray[Any]) -> NDArray[np.complexfloating]:
        """`reconstruct` of `forward`, the noise-free image, in one sweep."""
        self._expect(objects, self.object_shape, "object")
        kspace = _pruned_fft(objects, self.acquired_shape, self.workers)
        kspace *= self.transfer(kspace.dtype)
        return _padded_ifft(kspace, self.image_shape, self.workers)

    def transfer(self, dtype: Any) -> NDArray[np.complexfloating]:
        """All weights between the two transforms of `image` in one table."""
        key = f"transfer {np.dtype(dtype)}"
        if key not in self._tables:
            scale = 1 / (self.object_shape[0] * self.object_shape[1])
            table = self._phase("object", np.complex128, scale=scale) * np.conj(self._phase("image", np.complex128))
            if self.sampled is not None:
                table = table * self.sampled
            self._tables[key] = self._windowed(table).astype(dtype)
        return self._tables[key]

    @cached_property
    def noise_gain(self) -> float:
        """SD of the image's noise (real part) over that of each k-space sample (real part), which is white."""
        weights = np.ones(self.acquired_shape) if self.window is None else np.asarray(self.window, dtype=np.float64)
        if self.sampled is not None:
            weights = weights * self.sampled
        return float(np.sqrt(np.sum(weights**2)))

    def _windowed(self, kspace: NDArray[Any]) -> NDArray[Any]:
        if self.window is None:
            return kspace
        return kspace * self.window.astype(np.finfo(kspace.dtype).dtype)

    def _phase(self, which: str, dtype: Any, scale: float = 1.0) -> NDArray[np.complexfloating]:
        """exp(-2 pi i k x0), x0 the position of the first sample in fields of view, for both axes."""
        key = f"{which} {np.dtype(dtype)}"
        if key not in self._tables:
            shape = self.object_shape if which == "object" else self.image_shape
            phases = [
                np.exp(-2j * np.pi * frequencies(k) * (0.5 / n - 0.5))
                for k, n in zip(self.acquired_shape, shape, strict=True)
            ]
            self._tables[key] = (scale * np.outer(*phases)).astype(dtype)
        return self._tables[key]

    @staticmethod
    def _expect(array: NDArray[Any], shape: tuple[int, int], what: str) -> None:
        if array.shape[-2:] != shape:
            raise InputError(f"the {what} has {array.shape[-2:]} rows and columns; this acquisition needs {shape}")


def partial_fourier_lines(count: int, fraction: float) -> NDArray[np.bool_]:
    """(count,) which phase-encoding lines are acquired: all from the highest index down, `fraction` of them."""
    skipped = int(np.floor(count * (1 - fraction) + 1e-9))
    return np.arange(count) >= skipped


def homodyne(
    kspace: NDArray[np.complexfloating], encoding: CartesianEncoding, phase_axis: int, fraction: float
) -> NDArray[np.floating]:
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
    count = encoding.acquired_shape[phase_axis]
    acquired = partial_fourier_lines(count, fraction)
    k = frequencies(count)
    mirrored = np.isin(-k, k[acquired])
    # The index -(n // 2) of an even matrix has no mirror image and stands for itself.
    ramp = np.where(acquired, np.where(mirrored | (2 * np.abs(k) == count), 1.0, 2.0), 0.0)
    low_pass = (acquired & mirrored).astype(float)
    shape = (count, 1) if phase_axis == -2 else (1, count)
    full = encoding.reconstruct(kspace * ramp.reshape(shape).astype(np.finfo(kspace.dtype).dtype))
    centre = encoding.reconstruct(kspace * low_pass.reshape(shape).astype(np.finfo(kspace.dtype).dtype))
    magnitude = np.maximum(np.abs(centre), np.finfo(centre.real.dtype).tiny)
    return np.real(full * np.conj(centre / magnitude))


def _complex(array: NDArray[Any]) -> np.dtype:
    return np.dtype(np.complex64 if array.dtype in (np.float32, np.complex64) else np.complex128)


def _bins(count: int, of: int) -> list[tuple[slice, slice]]:
    """Pairs (where in ascending k-space, where in transform order), both halves."""
    low = count // 2
    pairs = [(slice(low, count), slice(0, count - low))]
    if low:
        pairs.append((slice(0, low), slice(of - low, of)))
    return pairs


def _pruned_fft(arrays: NDArray[Any], kept: tuple[int, int], workers: int) -> NDArray[np.complexfloating]:
    """Unnormalised 2D transform of the last axes, of which only the `kept` lowest frequencies are made, ascending."""
    along = scipy.fft.fft(arrays.astype(_complex(arrays), copy=False), axis=-1, workers=workers)
    columns = np.empty((*arrays.shape[:-1], kept[1]), dtype=along.dtype)
    for ascending, order in _bins(kept[1], arrays.shape[-1]):
        columns[..., ascending] = along[..., order]
    both = scipy.fft.fft(columns, axis=-2, workers=workers, overwrite_x=True)
    result = np.empty((*arrays.shape[:-2], *kept), dtype=along.dtype)
    for ascending, order in _bins(kept[0], arrays.shape[-2]):
        result[..., ascending, :] = both[..., order, :]
    return result


def _padded_ifft(kspace: NDArray[Any], shape: tuple[int, int], workers: int) -> NDArray[np.complexfloating]:
    """Unnormalised inverse of k-space in ascending order, zero-filled to `shape`; the adjoint of `_pruned_fft`."""
    rows = np.zeros((*kspace.shape[:-2], shape[0], kspace.shape[-1]), dtype=_complex(kspace))
    for ascending, order in _bins(kspace.shape[-2], shape[0]):
        rows[..., order, :] = kspace[..., ascending, :]
    down = scipy.fft.ifft(rows, axis=-2, norm="forward", workers=workers, overwrite_x=True)
    padded = np.zeros((*kspace.shape[:-2], *shape), dtype=down.dtype)
    for ascending, order in _bins(kspace.shape[-1], shape[1]):
        padded[..., order] = down[..., ascending]
    return scipy.fft.ifft(padded, axis=-1, norm="forward", workers=workers, overwrite_x=True)
