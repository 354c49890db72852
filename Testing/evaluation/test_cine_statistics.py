"""Measures by which simulated populations are laid beside real ones."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.cine_statistics import mean_and_sd, measure
from CMRSimExtension.evaluation.intensity_distributions import distance, normalised


def ring_volume(pool_mm: float, wall_mm: float, pixel_mm: float, slices: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Rings of known size beside a disc for the RV: blood 3, muscle 1, venous blood 2."""
    size = int(160 / pixel_mm)
    y, x = np.mgrid[:size, :size] * pixel_mm - 80.0
    radius = np.hypot(x - 20.0, y)
    labels = np.zeros((slices, size, size), np.uint8)
    labels[:, np.hypot(x + 40.0, y) < 20.0] = 3
    labels[:, radius < pool_mm / 2 + wall_mm] = 2
    labels[:, radius < pool_mm / 2] = 1
    return np.array([0.0, 3.0, 1.0, 2.0])[labels], labels


def test_sizes_of_a_ring_are_measured() -> None:
    image, labels = ring_volume(48.0, 8.0, 0.5)
    row = measure(image, labels, (0.5, 0.5, 10.0))
    assert row.mid_D == pytest.approx(48.0, abs=0.3)
    assert row.mid_T == pytest.approx(8.0, abs=0.3)
    assert row.mid_R == pytest.approx(20.0**2 / 24.0**2, rel=0.02)
    assert row.lv == pytest.approx(np.pi * 24.0**2 * 50.0 / 1000.0, rel=0.01)
    assert row.my == pytest.approx(1.05 * np.pi * (32.0**2 - 24.0**2) * 50.0 / 1000.0, rel=0.01)


def test_contrasts_of_a_ring_are_measured() -> None:
    row = measure(*ring_volume(48.0, 8.0, 1.0), (1.0, 1.0, 10.0))
    assert (row.mid_bm, row.mid_rl) == (3.0, pytest.approx(2.0 / 3.0))
    assert (row.cvm, row.cvl) == (0.0, 0.0)


def test_missing_structures_are_left_out_of_the_mean() -> None:
    image, labels = ring_volume(48.0, 8.0, 1.0)
    without = np.where(labels == 3, 0, labels)
    rows = [measure(image, labels, (1.0, 1.0, 8.0)), measure(image, without, (1.0, 1.0, 8.0))]
    assert mean_and_sd(rows)["mid_rl"] == (pytest.approx(2.0 / 3.0), 0.0)


def test_a_volume_without_muscle_is_refused() -> None:
    with pytest.raises(InputError, match="no slice holds LV myocardium"):
        measure(np.ones((2, 4, 4)), np.zeros((2, 4, 4), int), (1.0, 1.0, 1.0))


def test_equal_samples_have_no_distance_and_disjoint_ones_the_largest() -> None:
    values = np.random.default_rng(0).normal(2.0, 0.3, 5000)
    same = distance(values, values)
    assert (same.chi_square, same.kullback_leibler, same.kolmogorov_smirnov) == (0.0, 0.0, 0.0)
    apart = distance(values, values + 10.0)
    assert apart.chi_square == pytest.approx(1.0)
    assert apart.kolmogorov_smirnov == pytest.approx(1.0)


def test_the_kolmogorov_smirnov_distance_of_shifted_normals_is_the_analytic_one() -> None:
    """For a shift of one SD it is 2 Phi(1/2) - 1 = 0.383; 1e5 draws and 64 bins leave 0.02."""
    rng = np.random.default_rng(1)
    found = distance(rng.normal(5.0, 1.0, 100000), rng.normal(6.0, 1.0, 100000))
    assert found.kolmogorov_smirnov == pytest.approx(0.383, abs=0.02)


def test_normalisation_takes_the_gain_away() -> None:
    image, labels = ring_volume(48.0, 8.0, 1.0)
    assert np.allclose(normalised(image, labels), normalised(7.5 * image, labels))
