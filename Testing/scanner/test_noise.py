"""Noise statistics against theory."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln, hyp1f1

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.kspace import CartesianEncoding, apodisation
from CMRSimExtension.scanner.noise import (
    ColouredChiSquare,
    complex_noise,
    expected_magnitude,
    noise_sd_for_snr,
    rss_magnitude,
)


def test_complex_noise_has_its_sd_in_both_parts_and_they_are_uncorrelated() -> None:
    noise = complex_noise(np.random.default_rng(0), (400, 500), 2.5)
    # 4 standard errors of an SD from 200000 values are 0.6 %.
    assert noise.real.std() == pytest.approx(2.5, rel=0.0065)
    assert noise.imag.std() == pytest.approx(2.5, rel=0.0065)
    assert abs(np.mean(noise.real * noise.imag)) < 4 * 2.5**2 / np.sqrt(noise.size)


@pytest.mark.parametrize("coils", [1, 2, 8, 16])
@pytest.mark.parametrize("signal", [0.0, 1.5, 20.0])
def test_the_root_sum_of_squares_has_the_distribution_of_drawn_channels(coils: int, signal: float) -> None:
    rng = np.random.default_rng(coils)
    fast = rss_magnitude(np.full(20000, signal), 1.0, coils, rng)
    drawn = complex_noise(rng, (20000, coils), 1.0).astype(np.complex128)
    drawn += signal / np.sqrt(coils)
    slow = np.sqrt(np.sum(np.abs(drawn) ** 2, axis=-1))
    # Two-sample Kolmogorov-Smirnov; one in a thousand seeds fails by chance, these do not.
    assert stats.ks_2samp(fast, slow).pvalue > 1e-3


@pytest.mark.parametrize("coils", [1, 4, 12, 64])
@pytest.mark.parametrize("signal", [0.0, 2.0, 30.0])
def test_the_mean_magnitude_is_the_noncentral_chi_mean(coils: int, signal: float) -> None:
    drawn = rss_magnitude(np.full(100000, signal), 1.3, coils, np.random.default_rng(1))
    # 5 standard errors.
    assert drawn.mean() == pytest.approx(float(expected_magnitude(signal, 1.3, coils)), abs=5 * 1.3 / np.sqrt(100000))


def test_the_rician_floor_is_the_rayleigh_mean() -> None:
    assert float(expected_magnitude(0.0, 1.0)) == pytest.approx(np.sqrt(np.pi / 2))


@pytest.mark.parametrize("coils", [1, 2, 12])
def test_the_mean_magnitude_is_the_confluent_hypergeometric_function(coils: int) -> None:
    signal = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 40)])
    factor = np.sqrt(2) * np.exp(gammaln(coils + 0.5) - gammaln(coils))
    expected = factor * hyp1f1(-0.5, coils, -(signal**2) / 2)
    np.testing.assert_allclose(expected_magnitude(1.7 * signal, 1.7, coils), 1.7 * expected, rtol=1e-8)


def test_a_magnitude_far_above_the_noise_is_the_signal() -> None:
    # S + (2C - 1) s^2 / 2S, and the next term is of the order of S^-3.
    assert float(expected_magnitude(1e4, 1.0, 3)) == pytest.approx(1e4 + 5 / 2e4, rel=1e-9)


def coloured() -> CartesianEncoding:
    window = np.outer(apodisation("hamming", 1.0, 40), apodisation("tukey", 0.5, 48))
    return CartesianEncoding((96, 96), (40, 48), (96, 96), None, window)


def drawn_squares(code: CartesianEncoding, degrees: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """The slow way: sums of squares of channels that are each drawn in k-space and reconstructed."""
    total = np.zeros((count, *code.image_shape))
    for _ in range(degrees // 2):
        total += np.abs(code.reconstruct(complex_noise(rng, (count, *code.acquired_shape), 1 / code.noise_gain))) ** 2
    return total


@pytest.mark.parametrize("degrees", [2, 10, 22])
def test_coloured_chi_square_has_mean_and_variance_of_chi_square(degrees: int) -> None:
    field = ColouredChiSquare(coloured(), degrees).draw(np.random.default_rng(0), 60)
    # About 60 x 1920 independent values; Wilson-Hilferty itself errs by 2 % in the variance at 2 degrees of freedom.
    assert field.mean() == pytest.approx(degrees, rel=0.015)
    assert field.var() == pytest.approx(2 * degrees, rel=0.06)


def test_coloured_chi_square_is_correlated_like_drawn_channels() -> None:
    code, degrees = coloured(), 10
    rng = np.random.default_rng(1)
    fast = ColouredChiSquare(code, degrees).draw(rng, 200) - degrees
    slow = drawn_squares(code, degrees, 200, rng) - degrees
    for shift in ((0, 1), (1, 0), (0, 3), (2, 2)):
        here, there = (float(np.mean(f * np.roll(f, shift, axis=(-2, -1))) / np.mean(f**2)) for f in (fast, slow))
        assert here == pytest.approx(there, abs=0.03)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_fields_can_be_drawn(count: int) -> None:
    assert ColouredChiSquare(coloured(), 4).draw(np.random.default_rng(0), count).shape == (count, 96, 96)


def test_the_noise_sd_is_the_hearts_mean_signal_over_the_snr() -> None:
    image = np.full((2, 10, 12), 3.0)
    image[:, 4:7, 4:7] = 8.0
    mask = np.zeros((10, 12), bool)
    mask[4:7, 4:7] = True
    assert noise_sd_for_snr(image, mask, 20.0) == pytest.approx(0.4)


def test_an_empty_heart_mask_is_turned_down_with_the_cure() -> None:
    with pytest.raises(InputError, match="empty.*noise_sd"):
        noise_sd_for_snr(np.ones((4, 4)), np.zeros((4, 4), bool), 20.0)


def test_a_heart_without_signal_is_turned_down() -> None:
    with pytest.raises(InputError, match="without signal"):
        noise_sd_for_snr(np.zeros((4, 4)), np.ones((4, 4), bool), 20.0)
