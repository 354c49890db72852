"""Drawing torsos and placing the heart."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import (
    FRONTAL_ANGLE_DEG,
    TRANSVERSE_ANGLE_DEG,
    PericardialSac,
    around_lv,
    default_heart_frame,
    heart_axes,
    long_axis_ras,
)
from CMRSimExtension.errors import InputError


def test_what_is_given_is_kept() -> None:
    p = TorsoParameters.random(np.random.default_rng(0), sex="F", age_years=31.0, height_cm=171.0, weight_kg=58.0)
    assert (p.sex, p.age_years, p.height_cm, p.weight_kg) == ("F", 31.0, 171.0, 58.0)


def test_a_given_value_does_not_change_what_does_not_depend_on_it() -> None:
    drawn = TorsoParameters.random(np.random.default_rng(5))
    heavier = TorsoParameters.random(
        np.random.default_rng(5), sex=drawn.sex, age_years=drawn.age_years, weight_kg=drawn.weight_kg + 25.0
    )
    assert heavier.stomach_fill == drawn.stomach_fill and heavier.kidney_mm == drawn.kidney_mm


def test_heavier_people_have_thicker_fat() -> None:
    thin, fat = (
        TorsoParameters.random(np.random.default_rng(1), sex="M", age_years=40.0, height_cm=178.0, weight_kg=w)
        for w in (62.0, 120.0)
    )
    assert fat.subcutaneous_fat_mm > 2.0 * thin.subcutaneous_fat_mm


def test_mean_adult_heights_are_those_of_the_population() -> None:
    rng = np.random.default_rng(2)
    men = [TorsoParameters.random(rng, sex="M", age_years=35.0).height_cm for _ in range(400)]
    # Standard error 0.34 cm.
    assert np.mean(men) == pytest.approx(176.5, abs=1.2)


def test_paracardial_fat_spreads_by_half_of_its_mean() -> None:
    rng = np.random.default_rng(8)
    drawn = np.array([TorsoParameters.random(rng).paracardial_fat for _ in range(600)])
    assert drawn.std() / drawn.mean() == pytest.approx(0.52, abs=0.06)


def test_few_stomachs_hold_clear_fluid() -> None:
    rng = np.random.default_rng(9)
    food = np.array([TorsoParameters.random(rng).stomach_food for _ in range(400)])
    assert np.mean(food < 0.3) < 0.2 and np.mean(food > 0.6) > 0.6


@pytest.mark.parametrize("age", [1.0, 3.0, 8.0, 12.0, 17.0])
def test_children_can_be_drawn_at_any_age(age: float) -> None:
    drawn = [TorsoParameters.random(np.random.default_rng(s), age_years=age) for s in range(30)]
    assert all(12.0 < p.bmi < 36.0 and p.height_cm < 200.0 for p in drawn)


def test_random_adults_are_all_possible() -> None:
    rng = np.random.default_rng(3)
    drawn = [TorsoParameters.random(rng) for _ in range(500)]
    assert {p.sex for p in drawn} == {"F", "M"}


def test_the_record_of_a_torso_is_the_torso() -> None:
    p = TorsoParameters.random(np.random.default_rng(4))
    assert TorsoParameters(**p.as_dict()) == p


@pytest.mark.parametrize(
    ("name", "value"),
    [("sex", "X"), ("age_years", -1.0), ("height_cm", 400.0), ("weight_kg", float("nan")), ("stomach_fill", 1.2)],
)
def test_an_impossible_value_is_named(name: str, value: object) -> None:
    given = {"sex": "M", "age_years": 40.0, "height_cm": 178.0, "weight_kg": 75.0, name: value}
    with pytest.raises(InputError, match=name):
        TorsoParameters(**given)  # type: ignore[arg-type]


def test_height_and_weight_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="body mass index"):
        TorsoParameters("M", 40.0, 200.0, 30.0)


def test_random_refuses_an_unknown_sex() -> None:
    with pytest.raises(InputError, match="sex is 'boy'; give female, male, F or M"):
        TorsoParameters.random(np.random.default_rng(0), sex="boy")


def test_random_takes_either_spelling_of_a_sex() -> None:
    spelt, letter = (TorsoParameters.random(np.random.default_rng(0), sex=sex) for sex in ("female", "F"))
    assert spelt == letter and spelt.sex == "F"


def test_the_long_axis_has_the_angles_asked_for() -> None:
    x, y, z = long_axis_ras(38.0, 46.0)
    assert np.degrees(np.arctan2(-z, -x)) == pytest.approx(38.0)
    assert np.degrees(np.arctan2(y, -x)) == pytest.approx(46.0)


def test_heart_axes_are_right_handed() -> None:
    axes = heart_axes(30.0, 50.0, 12.0)
    assert np.allclose(axes @ axes.T, np.eye(3)) and np.linalg.det(axes) == pytest.approx(1.0)


def test_the_rv_lies_to_the_right_and_in_front_of_the_lv() -> None:
    frame = default_heart_frame(TorsoParameters("M", 40.0, 178.0, 75.0))
    lv = frame.to_ras(np.array([[0.0, 0.0, 0.45 * frame.lv_length_mm]]))[0]
    towards = frame.rv_centre_mm - lv
    assert towards[0] > 20.0 and towards[1] > 10.0


def test_the_apex_points_left_forward_and_down() -> None:
    z = default_heart_frame(TorsoParameters("F", 40.0, 165.0, 60.0)).axes[2]
    assert z[0] < -0.3 and z[1] > 0.3 and z[2] < -0.3


def test_drawn_long_axes_spread_as_measured() -> None:
    """Mean within 2 degrees and SD within 30 % of Engblom et al. 2005 (draws are cut at two SDs)."""
    parameters = TorsoParameters("M", 40.0, 176.0, 24.0 * 1.76**2)  # BMI 24: no lying flatter
    rng = np.random.default_rng(6)
    z = np.stack([default_heart_frame(parameters, rng).axes[2] for _ in range(500)])
    frontal = np.degrees(np.arctan2(-z[:, 2], -z[:, 0]))
    transverse = np.degrees(np.arctan2(z[:, 1], -z[:, 0]))
    for angles, (mean, sd) in ((frontal, FRONTAL_ANGLE_DEG), (transverse, TRANSVERSE_ANGLE_DEG)):
        assert angles.mean() == pytest.approx(mean, abs=2.0)
        assert angles.std() == pytest.approx(sd, rel=0.3)


def test_a_length_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="lv_length_mm"):
        default_heart_frame(TorsoParameters("M", 40.0, 178.0, 75.0), lv_length_mm=0.0)


def test_the_sac_has_the_volume_of_the_ball() -> None:
    _, semi = around_lv(95.0, 58.0, np.array([-47.0, 0.0, 43.0]))
    assert np.prod(semi) == pytest.approx(58.0**3)


def test_the_sac_on_its_grid_is_entered_where_the_ellipsoid_begins() -> None:
    frame = default_heart_frame(TorsoParameters("M", 40.0, 178.0, 75.0))
    sac = PericardialSac.of(frame, 58.0)
    centre, semi = around_lv(frame.lv_length_mm, 58.0, frame.to_heart(frame.rv_centre_mm[None])[0])
    low, high = sac.profile(2)
    middle = len(low) // 2
    direction = frame.axes[:, 2] / semi  # of the z axis, in units of the semi-axes
    half = 1.0 / np.linalg.norm(direction)
    # Voxels of 4 mm, smoothed: half a voxel.
    assert high[middle, middle] == pytest.approx(half, abs=2.0)
    assert low[middle, middle] == pytest.approx(-half, abs=2.0)
    assert np.isnan(low[0, 0])
