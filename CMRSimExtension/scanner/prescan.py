"""What a scanner acquires besides the images so that raw data can be reconstructed from themselves alone: noise, and
reference lines that tell the coils' sensitivities.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, is_torch
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


def estimated_sensitivities(
    channels: NDArray[np.complexfloating], blur: float = SENSITIVITY_BLUR
) -> NDArray[np.complexfloating]:
    """Sensitivities from images of the channels, by the eigenvectors of their local covariance.

    Walsh DO et al., Adaptive reconstruction of phased array MR imagery. Magn Reson Med 2000;43:682-690. The object's
    own phase drops out, wherever it changes within a pixel or two (fat beside water).

    Parameters
    ----------
    channels
        (coils, rows, columns) complex images with white noise, all alike but for the coils.
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
        raise InputError(f"channels have shape {channels.shape}; give (coils, rows, columns)")
    power = np.sum(np.abs(channels) ** 2, axis=(1, 2))
    if not power.max() > 0:
        raise InputError("the images of all channels are zero, so they tell no sensitivities")
    strongest, rows = int(np.argmax(power)), channels.shape[1]
    halo = int(np.ceil(4 * blur))
    found = np.empty_like(channels)
    # Some rows at a time: the covariances of all pixels at once take as many times the images' memory as there are
    # channels.
    for start in range(0, rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, rows)
        low = max(0, start - halo)
        covariance = _local_covariance(channels[:, low : stop + halo], blur)[start - low : stop - low]
        found[:, start:stop] = np.moveaxis(_first_eigenvectors(covariance, strongest), -1, 0)
    return found


def _local_covariance(channels: NDArray[np.complexfloating], blur: float) -> NDArray[np.complexfloating]:
    """(rows, columns, coils, coils) mean over each pixel's neighbourhood."""
    coils, rows, columns = channels.shape
    covariance = np.empty((rows, columns, coils, coils), dtype=channels.dtype)
    for first in range(coils):
        for second in range(first, coils):
            product = channels[first] * np.conj(channels[second])
            local = gaussian_filter(product.real, blur) + 1j * gaussian_filter(product.imag, blur)
            covariance[..., first, second] = local
            covariance[..., second, first] = np.conj(local)
    return covariance


def _first_eigenvectors(matrices: NDArray[np.complexfloating], reference: int) -> NDArray[np.complexfloating]:
    """(..., n) unit eigenvectors of the largest eigenvalue of Hermitian (..., n, n), element `reference` real.

    By power iteration: where there is signal the next eigenvalue is that of noise, so that few steps suffice.
    """
    tiny = np.finfo(matrices.real.dtype).tiny
    # Their scale is of no account; without it the powers would run out of single precision.
    scale = np.maximum(np.trace(matrices, axis1=-2, axis2=-1).real, tiny)[..., None, None]
    matrices = matrices / scale
    vectors = matrices[..., reference, None] + 1e-3
    for _ in range(_STEPS):
        vectors = matrices @ vectors
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-2, keepdims=True), tiny)
    element = vectors[..., reference, :][..., None, :]
    turn = np.conj(element) / np.maximum(np.abs(element), tiny)
    return np.asarray((vectors * np.where(np.abs(element) > 0, turn, 1))[..., 0])
