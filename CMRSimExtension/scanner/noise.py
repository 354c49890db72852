"""Noise of magnitude images, from theory: complex Gaussian noise in k-space, seen through the reconstruction.

SNR is MRXCAT's: the mean signal of the heart over the SD of the real part of the noise (Wissmann L et al., J Cardiovasc
Magn Reson 2014;16:63).
"""

import math
from typing import Any

import numpy as np
import scipy.fft

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, as_arrays, beside, is_torch
from CMRSimExtension.scanner.kspace import CartesianEncoding


def noise_sd_for_snr(magnitude: Any, heart_mask: Any, snr: float) -> Any:
    """SD of the real part of the noise that gives the heart this SNR.

    Parameters
    ----------
    magnitude
        Noise-free magnitude images.
    heart_mask
        Where the heart is; broadcasts against them.

    Returns
    -------
    float
        Of a tensor: a tensor without axes, which carries the images' gradients.

    Raises
    ------
    InputError
        For an empty mask, an SNR that is not above 0, or a heart without signal.
    """
    if not snr > 0:
        raise InputError(f"snr is {snr}; it must be above 0")
    xp = array_namespace(magnitude)
    mask = xp.broadcast_to(beside(heart_mask, magnitude), magnitude.shape)
    if not xp.any(mask):
        raise InputError("the heart mask is empty, so the SNR has no signal to refer to; give noise_sd instead")
    signal = xp.mean(magnitude[mask], dtype=xp.float64)
    if not signal > 0:
        raise InputError(
            f"the heart's mean signal is {float(signal)}; without signal there is no SNR, give noise_sd instead"
        )
    return xp.astype(signal, magnitude.dtype) / snr if is_torch(magnitude) else float(signal) / snr


def complex_noise(rng: np.random.Generator, shape: tuple[int, ...], sd: Any, like: Any = None) -> Any:
    """White complex Gaussian noise of SD `sd` in the real part and in the imaginary part, of single precision.

    Parameters
    ----------
    rng
        Draws the same numbers whatever they are for: an image on a GPU has the noise of the same image on the CPU.
    sd
        A number; for noise beside a tensor, a tensor without axes as well.
    like
        A tensor beside which the noise is to lie, in whose precision; else the noise is NumPy's, complex64.
    """
    noise = rng.standard_normal((*shape[:-1], 2 * shape[-1]), dtype=np.float32)
    if is_torch(like):
        return beside(noise.view(np.complex64), like) * sd
    noise *= np.float32(sd)
    return noise.view(np.complex64)


def rss_magnitude(signal: Any, noise_sd: float, coils: int, rng: np.random.Generator) -> Any:
    """Root sum of squares over `coils` channels of white noise, without drawing each channel's.

    sqrt((S + s g)^2 + s^2 chi^2(2C - 1)), g standard normal: the exact law voxel by voxel (noncentral chi;
    Constantinides CD et al., Magn Reson Med 1997;38:852-857). One coil is the Rician law.

    Parameters
    ----------
    signal
        Noise-free root sum of squares S.
    noise_sd
        s, of the real and of the imaginary part of each channel, uncorrelated between them.
    """
    if coils < 1:
        raise InputError(f"coils is {coils}; at least 1 is needed")
    xp, shape = array_namespace(signal), tuple(signal.shape)
    along = signal + noise_sd * beside(rng.standard_normal(shape), signal)
    return xp.sqrt(along**2 + noise_sd**2 * beside(rng.chisquare(2 * coils - 1, shape), signal))


def expected_magnitude(signal: Any, noise_sd: Any, coils: int = 1) -> Any:
    """Mean of the noisy root sum of squares, for NumPy and torch alike.

    s sqrt(pi/2) (2C-1)!!/(2^(C-1) (C-1)!) 1F1(-1/2; C; -S^2 / 2 s^2), written as the integral of
    1 - E[exp(-t m^2 / s^2)] over t^(-3/2) (with t = exp(2v)/2), for which the moment generating function of noncentral
    chi-square has a closed form. The trapezoidal rule in v, counted from where the integrand peaks, is good to 1e-8
    whatever the signal.

    Parameters
    ----------
    signal, noise_sd, coils
        As for `rss_magnitude`.
    """
    if coils < 1:
        raise InputError(f"coils is {coils}; at least 1 is needed")
    xp, (along, sd) = as_arrays(signal, noise_sd)
    power = 0.5 * (along / sd) ** 2
    # Beyond the nodes the integrand is exp(-|v|) on either side: the rest of the sum is a geometric series.
    step, count = 0.25, 40
    total = xp.zeros_like(power) + 2 * step * math.exp(-step * (count + 1)) / (1 - math.exp(-step))
    for place in step * np.arange(-count, count + 1):
        time = math.exp(2 * place) / (power + coils)
        total = total - step * math.exp(-place) * xp.expm1(-coils * xp.log1p(time) - power * time / (1 + time))
    return math.sqrt(2 / math.pi) * sd * xp.sqrt(power + coils) * total


class ColouredChiSquare:
    """Sums of squares of noise in other channels, with the spatial correlation that zero-filling gives them.

    A field z with the right correlation is mapped to chi-square by the cube-root transform (Wilson EB, Hilferty MM,
    Proc Natl Acad Sci 1931;17:684-688). Squared complex noise of correlation rho is correlated by |rho|^2, so z is made
    with that: mean, variance and correlation are right, at the cost of one transform for two images whatever the number
    of coils.
    """

    def __init__(self, encoding: CartesianEncoding, degrees: int) -> None:
        if degrees < 1:
            raise InputError(f"degrees is {degrees}; at least 1 degree of freedom is needed")
        self.degrees = degrees
        self.shape = encoding.image_shape
        self.workers = encoding.workers
        rows, columns = (
            (np.arange(k) - k // 2) % n for k, n in zip(encoding.acquired_shape, encoding.image_shape, strict=True)
        )
        power = np.zeros(self.shape)
        power[np.ix_(rows, columns)] = encoding.weights**2
        correlation = np.abs(scipy.fft.ifft2(power, norm="forward") / power.sum()) ** 2
        spectrum = np.maximum(scipy.fft.fft2(correlation).real, 0.0)
        self._amplitude = np.sqrt(spectrum / (self.shape[0] * self.shape[1])).astype(np.float32)

    def draw(self, rng: np.random.Generator, count: int, like: Any = None) -> Any:
        """(count, rows, columns) float32, chi-square distributed with `degrees` degrees of freedom.

        Beside the tensor `like`, where one is given, with the numbers that NumPy would have.
        """
        pairs = (count + 1) // 2
        white = complex_noise(rng, (pairs, *self.shape), 1.0, like)
        xp = array_namespace(white)
        white *= beside(self._amplitude, white)
        field = xp.fft.fft2(white) if is_torch(white) else scipy.fft.fft2(white, overwrite_x=True, workers=self.workers)
        z = xp.reshape(xp.stack([xp.real(field), xp.imag(field)], axis=1), (2 * pairs, *self.shape))[:count]
        spread = 2 / (9 * self.degrees)
        z *= float(np.sqrt(spread))
        z += 1 - spread
        z = xp.clip(z, 0.0, None)
        return z * z * z * float(self.degrees)
