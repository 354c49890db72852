"""The full path: every receive channel's k-space with its own noise, and the reconstructions of it.

Images go through one at a time, so memory does not grow with their number, or in batches, as leading axes. NumPy arrays
give NumPy arrays; torch tensors give tensors of their own precision, on their device and differentiably, with the noise
that NumPy would have.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch
from CMRSimExtension.scanner.aliasing import fold, fold_adjoint
from CMRSimExtension.scanner.kspace import CartesianEncoding, homodyne_weights, in_phase, noise_gain_of
from CMRSimExtension.scanner.noise import complex_noise
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.sense import SenseUnfolding


@dataclass(frozen=True)
class ChannelAcquisition:
    """A Cartesian acquisition of one slice with a coil array.

    Attributes
    ----------
    protocol
        Matrix, apodisation, partial Fourier, acceleration, combination.
    object_sensitivities
        (coils, fine rows, fine columns) complex, on the object's grid; with `folded_samples` on the widened one.
    image_sensitivities
        (coils, rows, columns) complex, on the image's grid; needed for ``adaptive`` combination and acceleration.
    workers
        Threads of the Fourier transform.
    folded_samples
        How many samples of the object on both ends of the phase direction lie outside the field of view and fold into
        it (`CMRSimExtension.scanner.aliasing`). Each is heard with the sensitivity of where it is.
    """

    protocol: Protocol
    object_sensitivities: Any
    image_sensitivities: Any = None
    workers: int = 1
    folded_samples: int = 0
    _placed: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.object_sensitivities.ndim != 3:
            raise InputError(
                f"object_sensitivities has shape {self.object_sensitivities.shape}; give (coils, rows, columns)"
            )
        needs_maps = self.protocol.coil_combination == "adaptive" or self.protocol.acceleration > 1
        if needs_maps and self.image_sensitivities is None:
            raise InputError(
                "adaptive combination and acceleration need image_sensitivities; give them, or combine by rss without "
                "acceleration"
            )
        expected = (len(self.object_sensitivities), *self.protocol.matrix)
        if self.image_sensitivities is not None and tuple(self.image_sensitivities.shape) != expected:
            raise InputError(f"image_sensitivities has shape {self.image_sensitivities.shape}; it must be {expected}")

    @property
    def _seen(self) -> tuple[int, int]:
        """(rows, columns) of the object that fill the field of view."""
        shape = list(self.object_sensitivities.shape[-2:])
        shape[self.protocol.phase_axis] -= 2 * self.folded_samples
        return shape[0], shape[1]

    @property
    def object_pixel_mm(self) -> tuple[float, float]:
        """Spacing of the object's samples (from row to row, from column to column)."""
        rows, columns = (fov / count for fov, count in zip(self.protocol.fov_mm, self._seen, strict=True))
        return rows, columns

    @property
    def coils(self) -> int:
        """Number of channels."""
        return len(self.object_sensitivities)

    @cached_property
    def encoding(self) -> CartesianEncoding:
        """Operators of one channel, undersampling included."""
        return CartesianEncoding.of_protocol(self.protocol, self._seen, undersampled=True, workers=self.workers)

    @cached_property
    def unfolding(self) -> SenseUnfolding | None:
        """SENSE unfolding, where the protocol undersamples or combines adaptively."""
        if self.image_sensitivities is None or (
            self.protocol.coil_combination == "rss" and self.protocol.acceleration == 1
        ):
            return None
        return SenseUnfolding(self.image_sensitivities, self.protocol.acceleration, self.protocol.phase_axis)

    @cached_property
    def _full_gain(self) -> float:
        return noise_gain_of(CartesianEncoding.of_protocol(self.protocol, self._seen), self.protocol)

    def noise_sd_of_channels(self, noise_sd: Any) -> Any:
        """SD of a k-space sample's noise that a fully sampled channel image shows as `noise_sd`.

        Undersampling leaves it as it is: the same receiver noise falls on fewer samples.
        """
        return noise_sd / self._full_gain

    def kspace(self, image: Any, rng: np.random.Generator | None = None, noise_sd: Any = 0.0) -> Any:
        """(..., coils, acquired rows, acquired columns) k-space of objects (..., fine rows, fine columns).

        Parameters
        ----------
        noise_sd
            SD of the real part of the noise in a fully sampled, uncombined channel image.
        """
        samples = self.encoded(image, self.object_sensitivities)
        return samples if rng is None else self.with_noise(samples, rng, noise_sd)

    def encoded(self, image: Any, sensitivities: Any) -> Any:
        """Noise-free `kspace` with these sensitivities in place of `object_sensitivities`."""

        def seen(weighted: Any) -> Any:
            if not self.folded_samples:
                return weighted
            return fold(weighted, self.protocol.phase_direction, self.folded_samples)

        if is_torch(image) or is_torch(sensitivities):
            image = beside(image, sensitivities)
            maps = self._beside(sensitivities, image)
            return self.encoding.forward(seen(image[..., None, :, :] * maps))
        # Channel by channel: what is worked on stays in cache.
        return np.stack([self.encoding.forward(seen(image * channel)) for channel in sensitivities], axis=-3)

    def forward_adjoint(self, samples: Any) -> Any:
        """The adjoint of noise-free `kspace`: objects from (..., coils, acquired rows, acquired columns)."""
        images = self.encoding.forward_adjoint(samples)
        if self.folded_samples:
            images = fold_adjoint(images, self.protocol.phase_direction, self.folded_samples)
        xp = array_namespace(images)
        return xp.sum(xp.conj(self._beside(self.object_sensitivities, images)) * images, axis=-3)

    def with_noise(self, samples: Any, rng: np.random.Generator, noise_sd: Any) -> Any:
        """k-space (..., coils, acquired rows, acquired columns) with noise added to what was acquired."""
        if not noise_sd > 0:
            return samples
        noise = complex_noise(rng, tuple(samples.shape), self.noise_sd_of_channels(noise_sd), samples)
        return samples + self.encoding.masked(noise)

    def reconstruct(self, samples: Any) -> Any:
        """(..., rows, columns) combined images of k-space (..., coils, ...): complex, or magnitude for ``rss``.

        With homodyne partial Fourier they are real: the part in phase with the low-resolution image.
        """
        protocol = self.protocol
        if protocol.partial_fourier == 1 or protocol.partial_fourier_method == "zero_fill":
            channels = self.encoding.reconstruct(samples)
            return root_sum_of_squares(channels) if self.unfolding is None else self._unfold(channels)
        weights = homodyne_weights(self.encoding, protocol.phase_axis, protocol.partial_fourier)
        full, centre = (self.encoding.reconstruct(samples * beside(w, samples)) for w in weights)
        if self.unfolding is None:
            return root_sum_of_squares(in_phase(full, centre))
        return in_phase(self._unfold(full), self._unfold(centre))

    def _unfold(self, channels: Any) -> Any:
        assert self.unfolding is not None
        return self.unfolding.unfold(channels * self.protocol.acceleration)

    def _beside(self, sensitivities: Any, image: Any) -> Any:
        """Sensitivities beside `image`; those of the object are kept there, so that they are sent to a device once."""
        if sensitivities is not self.object_sensitivities or not is_torch(image):
            return beside(sensitivities, image)
        key = (str(image.dtype), str(image.device))
        if key not in self._placed:
            self._placed[key] = beside(sensitivities, image)
        return self._placed[key]

    def stream(
        self, objects: Iterable[Any], rng: np.random.Generator | None = None, noise_sd: Any = 0.0
    ) -> Iterator[Any]:
        """Magnitude images (rows, columns) of objects, one after another, in constant memory.

        They are float32, or of the precision of the objects where these are tensors.
        """
        for image in objects:
            combined = self.reconstruct(self.kspace(image, rng, noise_sd))
            magnitude = array_namespace(combined).abs(combined)
            yield magnitude if is_torch(magnitude) else magnitude.astype(np.float32, copy=False)


def root_sum_of_squares(channels: Any) -> Any:
    """(..., rows, columns) root sum of squares of (..., channels, rows, columns), real or complex.

    Roemer PB et al., Magn Reson Med 1990;16:192-225. Where all channels are zero, so are its gradients.
    """
    xp = array_namespace(channels)
    if xp is not np:
        return xp.linalg.vector_norm(channels, axis=-3)
    total = np.zeros((*channels.shape[:-3], *channels.shape[-2:]), dtype=channels.real.dtype)
    for channel in np.moveaxis(channels, -3, 0):
        total += channel.real**2
        total += channel.imag**2
    return np.sqrt(total, out=total)
