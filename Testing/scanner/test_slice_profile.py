"""The slice profile and the planes that stand for it."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.slice_profile import slice_profile, slice_samples


@pytest.mark.parametrize("time_bandwidth", [1.5, 2.0, 4.0, 8.0])
def test_the_profile_is_half_at_half_the_thickness(time_bandwidth: float) -> None:
    # Tabulated at 0.1 % of the thickness, where the steepest profile changes by less than 1 %.
    assert slice_profile(np.array([4.0, -4.0]), 8.0, time_bandwidth) == pytest.approx(0.5, abs=0.01)


def test_a_higher_time_bandwidth_product_makes_steeper_edges() -> None:
    low, high = (slice_profile(np.array([2.5, 5.5]), 8.0, t) for t in (2.0, 8.0))
    assert high[0] > low[0] and high[1] < low[1]


def test_the_profile_of_a_small_flip_angle_is_what_the_bloch_simulator_excites() -> None:
    from CMRSimExtension.physics.bloch import GAMMA_BAR_HZ_PER_T, Isochromats, play, shaped_pulse

    time = (np.arange(200) + 0.5) / 200 - 0.5
    envelope = np.sinc(4.0 * time) * np.cos(np.pi * time) ** 2
    position = np.linspace(-8.0, 8.0, 161)
    iso = Isochromats(1e12, 1e12, 1.0, 0.0, position[:, None])
    excited = np.abs(play(iso, shaped_pulse(envelope, 2.0, 1.0, gradient_mt_per_m=[12.0])).transverse)
    excited /= excited.max()
    inner = excited >= 0.5
    thickness = np.interp(-0.5, -excited[80:], position[80:]) * 2
    assert inner.sum() > 20
    # A flip angle of 2 degrees is within 0.1 % of the small-tip limit; 200 hard pulses add less than 0.5 %.
    np.testing.assert_allclose(slice_profile(position, thickness, 4.0), excited, atol=0.01)
    assert thickness == pytest.approx(4.0e3 / (GAMMA_BAR_HZ_PER_T * 12.0e-6), rel=0.15)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_the_planes_are_symmetric_and_their_weights_sum_to_one(count: int) -> None:
    offsets, weights = slice_samples(8.0, count)
    np.testing.assert_allclose(offsets, -offsets[::-1], atol=1e-12)
    assert weights.sum() == pytest.approx(1.0) and np.all(np.diff(offsets) > 0)


def test_one_plane_is_the_centre_plane() -> None:
    assert slice_samples(8.0, 1)[0].tolist() == [0.0]


def test_many_planes_have_the_spread_of_the_profile() -> None:
    position = np.linspace(-12.0, 12.0, 4801)
    profile = slice_profile(position, 8.0)
    spread = np.sqrt(np.sum(profile * position**2) / np.sum(profile))
    offsets, weights = slice_samples(8.0, 101)
    # Centroids of strata lose the spread within each stratum, which for the outermost of 101 is the larger part.
    assert np.sqrt(np.sum(weights * offsets**2)) == pytest.approx(spread, rel=5e-3)


def test_no_planes_are_turned_down() -> None:
    with pytest.raises(InputError, match="at least 1"):
        slice_samples(8.0, 0)


def test_a_thickness_of_zero_is_turned_down() -> None:
    with pytest.raises(InputError, match="thickness_mm is 0.0"):
        slice_samples(0.0, 3)
