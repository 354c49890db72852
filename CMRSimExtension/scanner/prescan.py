"""What a scanner acquires besides the images so that raw data can be reconstructed from themselves alone: noise, and
reference lines that tell the coils' sensitivities.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch
from CMRSimExtension.scanner.multichannel import ChannelAcquisition
from CMRSimExtension.scanner.noise import complex_noise

NOISE_READOUTS = 64
"""Readouts without a pulse. With 200 samples each they tell the channels' covariance to 1 / sqrt(64 * 200) = 0.9 %."""
SENSITIVITY_BLUR = 1.0
"""SD in pixels of the neighbourhood in which `estimated_sensitivities` takes sensitivities to be constant: large enough
to average noise, small enough to follow the steepest field, beside a loop."""
_ROWS_AT_ONCE, _STEPS = 32, 8


def reference_lines(channels: ChannelAcquisition, objects: Any, rng: np.random.Generator, noise_sd: Any) -> Any:
    """All of k-space once, as a separate reference scan in front of the images acquires it for parallel imaging.

    It is not triggered and sees the heart as it is on average. Coils, field of view, readout, contrast and receiver
    noise are those of the images. What folds into these folds into it, so that its sensitivities leave it at the edge
    of unfolded images, where true sensitivities move it into their middle (Griswold MA et al., Magn Reson Med
    2004;52:1118-1126).

    Parameters
    ----------
    channels
        The acquisition of the images.
    objects
        (phases, fine rows, fine columns) signal at evenly spaced cardiac phases.
    rng, noise_sd
        As for `ChannelAcquisition.kspace`.

    Returns
    -------
    array
        (coils, acquired rows, acquired columns) complex64; of tensors, a tensor of their precision.
    """
    whole = replace(channels, protocol=channels.protocol.replace(acceleration=1, partial_fourier=1.0))
    samples = whole.encoded(array_namespace(objects).mean(objects, axis=0), channels.object_sensitivities)
    # The receiver is that of the images, whose reconstruction sets what `noise_sd` means.
    samples = samples + complex_noise(rng, tuple(samples.shape), channels.noise_sd_of_channels(noise_sd), samples)
    return samples if is_torch(samples) else np.asarray(samples, dtype=np.complex64)


def estimated_sensitivities(channels: Any, blur: float = SENSITIVITY_BLUR) -> Any:
    """Sensitivities from images of the channels, by the eigenvectors of their local covariance.

    Walsh DO et al., Adaptive reconstruction of phased array MR imagery. Magn Reson Med 2000;43:682-690. The object's
    own phase drops out, wherever it changes within a pixel or two (fat beside water).

    Parameters
    ----------
    channels
        (coils, rows, columns) complex images with white noise, all alike but for the coils; an array or a tensor.
    blur
        SD of the neighbourhood in pixels.

    Returns
    -------
    array
        Same shape and type, of unit root sum of squares everywhere; the phase is relative to the channel that is the
        strongest over all. Where there is nothing but noise, so are the sensitivities.

    Raises
    ------
    InputError
        The images have another shape, or are all zero.
    """
    if channels.ndim != 3:
        raise InputError(f"channels have shape {tuple(channels.shape)}; give (coils, rows, columns)")
    xp = array_namespace(channels)
    power = xp.sum(xp.abs(channels) ** 2, axis=(1, 2))
    if not bool(xp.any(power > 0)):
        raise InputError("the images of all channels are zero, so they tell no sensitivities")
    strongest, rows = int(xp.argmax(power)), channels.shape[1]
    halo = int(np.ceil(4 * blur))
    found = []
    # Some rows at a time: the covariances of all pixels at once take as many times the images' memory as there are
    # channels.
    for start in range(0, rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, rows)
        low = max(0, start - halo)
        covariance = _local_covariance(channels[:, low : stop + halo], blur)[start - low : stop - low]
        found.append(xp.moveaxis(_first_eigenvectors(covariance, strongest), -1, 0))
    return xp.concat(found, axis=1)


def _local_covariance(channels: Any, blur: float) -> Any:
    """(rows, columns, coils, coils) mean over each pixel's neighbourhood."""
    xp, coils = array_namespace(channels), len(channels)
    first, second = np.triu_indices(coils)
    half = _blurred(channels[beside(first, channels)] * xp.conj(channels[beside(second, channels)]), blur)
    # Row by row of the matrix: what lies below the diagonal is the conjugate of what lies above it.
    place = np.zeros((coils, coils), dtype=np.int64)
    place[first, second] = np.arange(len(first))
    lower = beside(np.tri(coils, k=-1, dtype=bool).reshape(-1, 1, 1), channels)
    whole = half[beside(np.maximum(place, place.T).reshape(-1), channels)]
    whole = xp.where(lower, xp.conj(whole), whole)
    return xp.moveaxis(whole, 0, -1).reshape(*channels.shape[1:], coils, coils)


def _blurred(images: Any, sd: float) -> Any:
    """(..., rows, columns) averaged with Gaussian weights as far as 4 SD, mirrored at the borders."""
    reach = int(4 * sd + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sd, 1e-6)) ** 2)
    weights /= weights.sum()
    for axis in (-2, -1):
        length = images.shape[axis]
        # Half-sample symmetric: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
        place = np.arange(-reach, length + reach) % (2 * length)
        place = beside(np.where(place < length, place, 2 * length - 1 - place), images)
        whole = images[..., place, :] if axis == -2 else images[..., place]
        parts = (
            float(weight) * (whole[..., k : k + length, :] if axis == -2 else whole[..., k : k + length])
            for k, weight in enumerate(weights)
        )
        images = sum(parts, start=next(parts))
    return images


def _first_eigenvectors(matrices: Any, reference: int) -> Any:
    """(..., n) unit eigenvectors of the largest eigenvalue of Hermitian (..., n, n), element `reference` real.

    By power iteration: where there is signal the next eigenvalue is that of noise, so that few steps suffice.
    """
    xp = array_namespace(matrices)
    tiny = float(xp.finfo(matrices.dtype).tiny if is_torch(matrices) else np.finfo(matrices.dtype).tiny)

    def divisor(values: Any) -> Any:
        return xp.where(values > tiny, values, xp.full_like(values, tiny))

    # Their scale is of no account; without it the powers would run out of single precision.
    matrices = matrices / divisor(xp.real(xp.linalg.trace(matrices)))[..., None, None]
    vectors = matrices[..., reference, None] + 1e-3
    for _ in range(_STEPS):
        vectors = matrices @ vectors
        vectors = vectors / divisor(xp.linalg.vector_norm(vectors, axis=-2, keepdims=True))
    element = vectors[..., reference, :][..., None, :]
    size = xp.abs(element)
    turn = xp.where(size > 0, xp.conj(element) / divisor(size), xp.ones_like(element))
    return (vectors * turn)[..., 0]
