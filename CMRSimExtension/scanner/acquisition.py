"""From the signal of a finely sampled object to the magnitude images that the scanner's console shows.

This is the fast path: receive channels are taken as combined, and their noise follows the combined law instead of being
drawn channel by channel. NumPy arrays give NumPy arrays; torch tensors give tensors, on their device and
differentiably.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch
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

    def noise_free(self, objects: Any) -> Any:
        """Magnitude images (..., rows, columns) of objects (..., fine rows, fine columns), without noise."""
        return self._run(objects, None, 0.0)

    def magnitude(self, objects: Any, rng: np.random.Generator, noise_sd: Any, noise_map: Any = None) -> Any:
        """Magnitude images with noise.

        Images come out the same whatever the number handed in at once, as long as their order is the same and `rng` is
        handed on.

        Parameters
        ----------
        objects
            (..., fine rows, fine columns) real or complex signal.
        rng
            Source of the noise, for arrays and tensors alike: a tensor's noise is drawn as NumPy's and sent to it.
        noise_sd
            SD of the real part of the noise in the image (`noise_sd_for_snr`), before magnitude is taken. Beside
            tensors it may be one, without axes, and is followed by gradients.
        noise_map
            (rows, columns) factor on `noise_sd`, as parallel imaging makes it (`CMRSimExtension.scanner.sense`), or
            None for the same noise everywhere.

        Returns
        -------
        array
            (..., rows, columns) float32; a tensor of the precision of `objects` where these are one.
        """
        level = float(noise_sd.detach() if is_torch(noise_sd) else noise_sd)
        if not (math.isfinite(level) and level >= 0):
            raise InputError(f"noise_sd is {level}; it must be finite and not negative")
        return self._run(objects, rng, noise_sd, noise_map)

    def _run(self, objects: Any, rng: np.random.Generator | None, noise_sd: Any, noise_map: Any = None) -> Any:
        objects = objects if is_torch(objects) else np.asarray(objects)
        if objects.ndim < 2:
            raise InputError(f"objects have shape {tuple(objects.shape)}; at least (rows, columns) are needed")
        return self._in_chunks(objects, lambda stack: self._some(stack, rng, noise_sd, noise_map))

    def _in_chunks(self, stack: Any, work: Callable[[Any], Any]) -> Any:
        """`work` on (images, ...) of an array (..., rows, columns), a few at a time."""
        xp, leading, matrix = array_namespace(stack), stack.shape[:-2], self.protocol.matrix
        flat = xp.reshape(stack, (-1, *stack.shape[-2:]))
        if is_torch(stack):
            # The same chunks as NumPy's, so that the noise is drawn in the same order.
            images = xp.concat([work(flat[chunk]) for chunk in _chunks(len(flat))], axis=0)
        else:
            images = np.empty((len(flat), *matrix), dtype=np.float32)
            for chunk in _chunks(len(flat)):
                images[chunk] = work(flat[chunk])
        return xp.reshape(images, (*leading, *matrix))

    def _some(self, stack: Any, rng: np.random.Generator | None, noise_sd: Any, noise_map: Any) -> Any:
        encoding = self.encoding
        if not is_torch(stack) and stack.dtype not in (np.complex64, np.float32):
            stack = stack.astype(np.complex64 if np.iscomplexobj(stack) else np.float32)
        noisy = rng is not None and noise_sd > 0
        if not noisy and not self._homodyne:
            return array_namespace(stack).abs(encoding.image(stack))
        return self._reconstructed(encoding.forward(stack), rng, noise_sd, noise_map)

    def from_kspace(
        self, kspace: Any, rng: np.random.Generator | None = None, noise_sd: Any = 0.0, noise_map: Any = None
    ) -> Any:
        """Magnitude images (..., rows, columns) with noise, of noise-free k-space (..., acquired rows, columns).

        For k-space that was put together line by line (`CMRSimExtension.scanner.segmented`).
        """
        return self._in_chunks(kspace, lambda stack: self._reconstructed(stack, rng, noise_sd, noise_map))

    def _reconstructed(self, kspace: Any, rng: np.random.Generator | None, noise_sd: Any, noise_map: Any) -> Any:
        """Magnitude of k-space (images, ...)."""
        encoding, xp = self.encoding, array_namespace(kspace)
        if rng is None or not noise_sd > 0:
            return xp.abs(self._image(kspace))
        noise = encoding.masked(
            complex_noise(rng, tuple(kspace.shape), noise_sd / noise_gain_of(encoding, self.protocol), kspace)
        )
        scale = None if noise_map is None else beside(noise_map, kspace)
        if scale is None:
            noise += kspace
            images = xp.abs(self._image(noise))
        else:
            images = xp.abs(self._image(kspace) + scale * encoding.reconstruct(noise))
        if self._other_channels is not None:
            others = self._other_channels.draw(rng, len(images), images)
            others *= noise_sd**2
            if scale is not None:
                others *= scale**2
            images **= 2
            others += images
            images = xp.sqrt(others)
        return images

    def _image(self, kspace: Any) -> Any:
        if self._homodyne:
            return homodyne(kspace, self.encoding, self.protocol.phase_axis, self.protocol.partial_fourier)
        return self.encoding.reconstruct(kspace)


def acquire(
    objects: Any,
    protocol: Protocol,
    rng: np.random.Generator,
    *,
    heart_mask: Any = None,
    noise_sd: Any = None,
    workers: int = 1,
) -> Any:
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
        (..., rows, columns) float32; a tensor of the precision of `objects` where these are one.

    Raises
    ------
    InputError
        If neither or both of `heart_mask` and `noise_sd` are given, or shapes do not fit.
    """
    if (heart_mask is None) == (noise_sd is None):
        raise InputError("give either heart_mask or noise_sd: one of them must set the noise")
    objects = objects if is_torch(objects) else np.asarray(objects)
    acquisition = Acquisition(protocol, (int(objects.shape[-2]), int(objects.shape[-1])), workers)
    if noise_sd is None:
        assert heart_mask is not None
        noise_sd = noise_sd_for_snr(acquisition.noise_free(objects), heart_mask, protocol.snr)
    return acquisition.magnitude(objects, rng, noise_sd)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _IMAGES_AT_ONCE):
        yield slice(start, min(start + _IMAGES_AT_ONCE, count))
