"""From the signal of a finely sampled object to the magnitude images that the scanner's console shows.

This is the fast path: receive channels are taken as combined, and their noise follows the combined law instead of being
drawn channel by channel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.kspace import CartesianEncoding, homodyne, noise_gain_of
from CMRSimExtension.scanner.noise import ColouredChiSquare, complex_noise, noise_sd_for_snr
from CMRSimExtension.scanner.protocol import Protocol

_IMAGES_AT_ONCE = 8
"""Images transformed together: enough to amortise the calls, few enough to stay in cache and memory."""


@dataclass(frozen=True)
class Acquisition:
    """A Cartesian acquisition of one protocol, ready for any number of images.

    Attributes
    ----------
    protocol
        What the console is set to.
    object_shape
        (rows, columns) of the fine object grid, which fills the protocol's field of view.
    workers
        Threads of the Fourier transform.
    """

    protocol: Protocol
    object_shape: tuple[int, int]
    workers: int = 1

    @cached_property
    def encoding(self) -> CartesianEncoding:
        """The linear part: k-space, apodisation, zero-filling."""
        return CartesianEncoding.of_protocol(self.protocol, self.object_shape, workers=self.workers)

    @cached_property
    def _other_channels(self) -> ColouredChiSquare | None:
        # Unfolding makes one image of all channels, whose noise is complex Gaussian whatever the combination.
        if self.protocol.coil_combination != "rss" or self.protocol.coils == 1 or self.protocol.acceleration > 1:
            return None
        # A channel's noise is complex, so it counts twice; homodyne detection leaves its real part alone.
        parts = 1 if self._homodyne else 2
        return ColouredChiSquare(self.encoding, parts * (self.protocol.coils - 1))

    @property
    def _homodyne(self) -> bool:
        return self.protocol.partial_fourier < 1 and self.protocol.partial_fourier_method == "homodyne"

    def noise_free(self, objects: NDArray[Any]) -> NDArray[np.float32]:
        """Magnitude images (..., rows, columns) of objects (..., fine rows, fine columns), without noise."""
        return self._run(objects, None, 0.0)

    def magnitude(
        self,
        objects: NDArray[Any],
        rng: np.random.Generator,
        noise_sd: float,
        noise_map: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float32]:
        """Magnitude images with noise.

        Images come out the same whatever the number handed in at once, as long as their order is the same and `rng` is
        handed on.

        Parameters
        ----------
        objects
            (..., fine rows, fine columns) real or complex signal.
        rng
            Source of the noise.
        noise_sd
            SD of the real part of the noise in the image (`noise_sd_for_snr`), before magnitude is taken.
        noise_map
            (rows, columns) factor on `noise_sd`, as parallel imaging makes it (`CMRSimExtension.scanner.sense`), or
            None for the same noise everywhere.

        Returns
        -------
        array
            (..., rows, columns) float32.
        """
        if not (np.isfinite(noise_sd) and noise_sd >= 0):
            raise InputError(f"noise_sd is {noise_sd}; it must be finite and not negative")
        return self._run(objects, rng, noise_sd, noise_map)

    def _run(
        self,
        objects: NDArray[Any],
        rng: np.random.Generator | None,
        noise_sd: float,
        noise_map: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float32]:
        objects = np.asarray(objects)
        if objects.ndim < 2:
            raise InputError(f"objects have shape {objects.shape}; at least (rows, columns) are needed")
        stack = objects.reshape(-1, *objects.shape[-2:])
        images = np.empty((len(stack), *self.protocol.matrix), dtype=np.float32)
        for chunk in _chunks(len(stack)):
            images[chunk] = self._some(stack[chunk], rng, noise_sd, noise_map)
        return images.reshape(*objects.shape[:-2], *self.protocol.matrix)

    def _some(
        self,
        stack: NDArray[Any],
        rng: np.random.Generator | None,
        noise_sd: float,
        noise_map: NDArray[np.floating] | None,
    ) -> NDArray[np.float32]:
        encoding = self.encoding
        if stack.dtype not in (np.complex64, np.float32):
            stack = stack.astype(np.complex64 if np.iscomplexobj(stack) else np.float32)
        noisy = rng is not None and noise_sd > 0
        if not noisy and not self._homodyne:
            return np.abs(encoding.image(stack))
        return self._reconstructed(encoding.forward(stack), rng, noise_sd, noise_map)

    def from_kspace(
        self,
        kspace: NDArray[Any],
        rng: np.random.Generator | None = None,
        noise_sd: float = 0.0,
        noise_map: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float32]:
        """Magnitude images (..., rows, columns) with noise, of noise-free k-space (..., acquired rows, columns).

        For k-space that was put together line by line (`CMRSimExtension.scanner.segmented`).
        """
        stack = kspace.reshape(-1, *kspace.shape[-2:])
        images = np.empty((len(stack), *self.protocol.matrix), dtype=np.float32)
        for chunk in _chunks(len(stack)):
            images[chunk] = self._reconstructed(stack[chunk].copy(), rng, noise_sd, noise_map)
        return images.reshape(*kspace.shape[:-2], *self.protocol.matrix)

    def _reconstructed(
        self,
        kspace: NDArray[Any],
        rng: np.random.Generator | None,
        noise_sd: float,
        noise_map: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float32]:
        """Magnitude of k-space (images, ...), which is overwritten."""
        encoding = self.encoding
        if rng is None or not noise_sd > 0:
            return np.abs(self._image(kspace)).astype(np.float32, copy=False)
        noise = complex_noise(rng, kspace.shape, noise_sd / noise_gain_of(encoding, self.protocol))
        if encoding.sampled is not None:
            noise *= encoding.sampled
        if noise_map is None:
            kspace += noise
            images = np.abs(self._image(kspace))
        else:
            scale = np.asarray(noise_map, dtype=np.float32)
            images = np.abs(self._image(kspace) + scale * encoding.reconstruct(noise))
        if self._other_channels is not None:
            others = self._other_channels.draw(rng, len(images))
            images **= 2
            images += np.float32(noise_sd**2) * (others if noise_map is None else others * scale**2)
            np.sqrt(images, out=images)
        return np.asarray(images, dtype=np.float32)

    def _image(self, kspace: NDArray[Any]) -> NDArray[Any]:
        if self._homodyne:
            return homodyne(kspace, self.encoding, self.protocol.phase_axis, self.protocol.partial_fourier)
        return np.asarray(self.encoding.reconstruct(kspace))


def acquire(
    objects: NDArray[Any],
    protocol: Protocol,
    rng: np.random.Generator,
    *,
    heart_mask: NDArray[np.bool_] | None = None,
    noise_sd: float | None = None,
    workers: int = 1,
) -> NDArray[np.float32]:
    """Magnitude images of finely sampled objects: acquired resolution, Gibbs ringing, zero-filling and noise.

    Parameters
    ----------
    objects
        (..., fine rows, fine columns) real or complex signal over the protocol's field of view.
    protocol
        Resolution, matrix, partial Fourier, apodisation, SNR, coils.
    rng
        Source of the noise.
    heart_mask
        Where the heart is in the images; broadcasts to (..., rows, columns). The noise is set so that the mean
        noise-free signal there over the noise SD is `Protocol.snr`.
    noise_sd
        SD of the real part of the noise in image units, instead of `heart_mask`; 0 is no noise.
    workers
        Threads of the Fourier transform.

    Returns
    -------
    array
        (..., rows, columns) float32.

    Raises
    ------
    InputError
        If neither or both of `heart_mask` and `noise_sd` are given, or shapes do not fit.
    """
    if (heart_mask is None) == (noise_sd is None):
        raise InputError("give either heart_mask or noise_sd: one of them must set the noise")
    objects = np.asarray(objects)
    acquisition = Acquisition(protocol, (int(objects.shape[-2]), int(objects.shape[-1])), workers)
    if noise_sd is None:
        assert heart_mask is not None
        noise_sd = noise_sd_for_snr(acquisition.noise_free(objects), heart_mask, protocol.snr)
    return acquisition.magnitude(objects, rng, noise_sd)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _IMAGES_AT_ONCE):
        yield slice(start, min(start + _IMAGES_AT_ONCE, count))
