import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from CMRSimExtension.errors import InputError
from CMRSimExtension.tagging.preparation import TRAINS, TagTrain, gradient_area_mt_ms_per_m


def reference_mz(weights, total_deg, phase):
    """Pulse by pulse with scipy's rotations: RF about y, precession about z."""
    flips = total_deg * np.asarray(weights) / np.sum(weights)
    result = []
    for phi in phase:
        m = np.array([0.0, 0.0, 1.0])
        for number, flip in enumerate(flips):
            if number:
                m = Rotation.from_rotvec([0, 0, phi]).apply(m)
            m = Rotation.from_rotvec([0, np.deg2rad(flip), 0]).apply(m)
        result.append(m[2])
    return np.array(result)


@pytest.mark.parametrize("total", [20.0, 70.0, 90.0, 135.0, 180.0])
def test_two_equal_pulses_give_the_closed_form(total):
    phase = np.linspace(-7, 7, 301)
    half = np.deg2rad(total / 2)
    expected = np.cos(half) ** 2 - np.sin(half) ** 2 * np.cos(phase)
    # Both are the same trigonometry: only rounding separates them.
    np.testing.assert_allclose(TagTrain("1-1", total).rotated(phase), expected, atol=1e-12)


@pytest.mark.parametrize("name", TRAINS)
@pytest.mark.parametrize("total", [45.0, 90.0, 180.0])
def test_every_train_equals_a_pulse_by_pulse_rotation(name, total):
    phase = np.linspace(0, 2 * np.pi, 41)
    expected = reference_mz(TRAINS[name], total, phase)
    np.testing.assert_allclose(TagTrain(name, total).rotated(phase), expected, atol=1e-12)


@pytest.mark.parametrize("name", TRAINS)
def test_the_fast_profile_equals_the_rotations(name):
    train = TagTrain(name, 110.0)
    phase = np.linspace(-20, 20, 777)
    np.testing.assert_allclose(train.profile(phase), train.rotated(phase), atol=1e-12)


def test_the_fast_profile_keeps_single_precision():
    assert TagTrain().profile(np.zeros(3, dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "percent"), [("1-1", 50.0), ("1-2-1", 36.4), ("1-3-3-1", 29.9), ("1-4-6-4-1", 26.0)]
)
def test_dark_lines_have_the_width_of_their_train(name, percent):
    # The numbers are given to a tenth of a percent.
    assert 100 * TagTrain(name, 90.0).line_width == pytest.approx(percent, abs=0.051)


def test_sub_flips_of_1331_are_an_eighth_and_three_eighths_of_the_total():
    np.testing.assert_allclose(TagTrain("1-3-3-1", 90.0).sub_flips_deg, [11.25, 33.75, 33.75, 11.25])


@pytest.mark.parametrize("name", TRAINS)
def test_the_darkest_point_has_the_total_flip_angle(name):
    assert TagTrain(name, 70.0).rotated(0.0) == pytest.approx(np.cos(np.deg2rad(70.0)), abs=1e-12)


def test_seven_millimetres_need_3355_millitesla_milliseconds_per_metre():
    assert gradient_area_mt_ms_per_m(7.0) == pytest.approx(3.355, abs=5e-4)


@pytest.mark.parametrize("flip", [0.0, -10.0, 180.1, float("nan")])
def test_a_total_flip_out_of_range_is_refused_with_its_limits(flip):
    with pytest.raises(InputError, match="total tagging flip angle is .* above 0 and at most at 180"):
        TagTrain("1-1", flip)


def test_an_unknown_train_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="1-2-2-1.*1-1, 1-2-1, 1-3-3-1, 1-4-6-4-1"):
        TagTrain("1-2-2-1")
