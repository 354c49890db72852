"""The parametric subject: reproducible, complete, and the same whichever way it is asked."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Anatomy, HeartFrame, Moment
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.subject import ANGLE_LIMITS_DEG, Subject, SubjectParameters
from CMRSimExtension.anatomy.torso.placement import check_orientation, heart_axes
from CMRSimExtension.errors import InputError


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.random(3)


def points_around(subject: Subject, count: int = 20000) -> np.ndarray:
    rng = np.random.default_rng(0)
    middle = subject.heart_frame.origin_mm + 30.0 * subject.heart_frame.axes[2]
    return (middle + rng.uniform(-90.0, 90.0, (count, 3))).astype(np.float32)


def test_a_subject_is_an_anatomy(subject: Subject) -> None:
    assert isinstance(subject, Anatomy)


def test_the_same_seed_gives_the_same_subject(subject: Subject) -> None:
    assert Subject.random(3).parameters == subject.parameters


def test_a_given_value_leaves_the_other_draws_alone(subject: Subject) -> None:
    other = Subject.random(3, edv_ml=170.0, esv_ml=70.0)
    assert other.parameters.torso == subject.parameters.torso
    assert other.parameters.heart.rv_sag_deg == subject.parameters.heart.rv_sag_deg
    assert other.function.lv_edv_ml == 170.0


@pytest.mark.parametrize("name", ["frontal_deg", "transverse_deg", "roll_deg"])
def test_a_given_angle_is_the_hearts_and_leaves_all_else_alone(subject: Subject, name: str) -> None:
    other = Subject.random(3, **{name: 25.0})
    assert other.parameters == replace(subject.parameters, **{name: 25.0})
    turned, drawn = other.heart_frame.axes, subject.heart_frame.axes
    assert not np.allclose(turned, drawn)
    if name == "roll_deg":
        assert np.allclose(turned[2], drawn[2])
    else:
        x, y, z = turned[2]
        assert np.degrees(np.arctan2(-z if name == "frontal_deg" else y, -x)) == pytest.approx(25.0)


@pytest.mark.parametrize(
    "given", [{"chest_half_width_mm": 170.0}, {"chest_half_depth_mm": 115.0}, {"heart_left_mm": 5.0}]
)
def test_a_given_chest_is_built_and_leaves_all_else_alone(subject: Subject, given: dict[str, float]) -> None:
    other = Subject.random(3, **given)
    assert other.parameters == replace(subject.parameters, torso=replace(subject.parameters.torso, **given))
    assert not given.get("chest_half_width_mm") or other.torso.half_width_mm == 170.0
    assert not given.get("chest_half_depth_mm") or other.torso.half_depth_mm == 115.0
    if "heart_left_mm" in given:
        # The midline lies at x = 0.
        way = other.heart_frame.origin_mm[0] - subject.heart_frame.origin_mm[0]
        assert way == pytest.approx(subject.parameters.torso.heart_left_mm - 5.0)


def test_a_chest_that_the_heart_does_not_fit_is_refused_with_one_that_it_does() -> None:
    for name in ("chest_half_depth_mm", "chest_half_width_mm"):
        with pytest.raises(InputError, match=f"{name} is 60, and the chest around this heart has .* at least") as error:
            Subject.random(3, **{name: 60.0})
        least = float(str(error.value).partition(" has ")[2].split()[0])
        assert getattr(Subject.random(3, **{name: least}).parameters.torso, name) == least


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frontal_deg": -5.0}, "frontal_deg is -5.0; choose an angle from 0 to 65 degrees"),
        ({"transverse_deg": 80.0}, "transverse_deg is 80.0; choose an angle from 10 to 75 degrees"),
        ({"roll_deg": float("nan")}, "roll_deg is nan; choose an angle from -45 to 45 degrees"),
        ({"heart_left_mm": 300.0}, "heart_left_mm is 300.0; it must lie between -40.0 and 100.0"),
        ({"chest_half_width_mm": 300.0}, "chest_half_width_mm is 300.0; it must lie between 40.0 and 200.0"),
    ],
)
def test_a_place_that_no_heart_has_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Subject.random(3, **given)


def test_a_chest_is_built_around_every_combination_of_angles() -> None:
    for angles in product(*ANGLE_LIMITS_DEG.values()):
        axes = heart_axes(*angles)
        check_orientation(HeartFrame(np.zeros(3), axes, 95.0, np.zeros(3), np.zeros(3)))
    extreme = Subject.random(3, frontal_deg=0.0, transverse_deg=10.0, roll_deg=-45.0)
    assert np.any(extreme.sample(points_around(extreme, 3000), Moment()).structure == Structure.LV_BLOOD)


def test_its_record_builds_it_again(subject: Subject) -> None:
    record = json.loads(json.dumps(subject.describe()))
    again = Subject(SubjectParameters.from_dict(record["parameters"]))
    points, moment = points_around(subject, 4000), Moment(0.3, 0.2)
    first, second = subject.sample(points, moment), again.sample(points, moment)
    assert np.array_equal(first.structure, second.structure)
    assert np.array_equal(first.rest_mm, second.rest_mm)


def test_what_may_not_move_does_not(subject: Subject) -> None:
    points = points_around(subject)
    still = ~subject.may_move(points)
    assert 0.1 < still.mean() < 0.95
    at_rest = subject.sample(points[still], Moment(0.0)).structure
    for phase in (0.15, 0.39, 0.7):
        assert np.array_equal(subject.sample(points[still], Moment(phase)).structure, at_rest)


def test_held_points_answer_as_sampled_ones(subject: Subject) -> None:
    points = points_around(subject, 5000)
    held = subject.hold(points, 0.1)
    for phase in (0.0, 0.33, 0.8):
        direct, again = subject.sample(points, Moment(phase, 0.1)), held(phase)
        assert np.array_equal(direct.structure, again.structure)
        assert np.array_equal(direct.rest_mm, again.rest_mm)
        few = held(phase, np.array([7, 4321, 0]))
        assert np.array_equal(few.structure, direct.structure[[7, 4321, 0]])
        assert np.array_equal(few.rest_mm, direct.rest_mm[[7, 4321, 0]])


def test_rest_positions_at_rest_are_the_points_themselves(subject: Subject) -> None:
    points = points_around(subject, 5000).astype(np.float64)
    material = subject.sample(points, Moment(0.0, 0.0))
    assert np.abs(material.rest_mm - points).max() < 1e-6


def test_muscle_is_found_again_at_its_rest_position(subject: Subject) -> None:
    """The wall that is somewhere at end systole was wall at end diastole, where it says it was."""
    points = points_around(subject).astype(np.float64)
    now = subject.sample(points, Moment(subject.heart.timing.end_systole))
    wall = now.structure == Structure.LV_MYOCARDIUM
    before = subject.sample(now.rest_mm[wall], Moment(0.0))
    assert wall.sum() > 200
    assert np.mean(before.structure == Structure.LV_MYOCARDIUM) > 0.995


def test_breathing_carries_the_heart_down(subject: Subject) -> None:
    points = points_around(subject)
    out, inhaled = (points[subject.sample(points, Moment(0.0, r)).clinical == 2] for r in (0.0, 0.5))
    assert out[:, 2].mean() - inhaled[:, 2].mean() > 3.0


def test_every_structure_of_a_heart_is_there(subject: Subject) -> None:
    found = set(np.unique(subject.sample(points_around(subject, 400000), Moment(0.6)).structure).tolist())
    wanted = {
        s for s in Structure if s <= Structure.RV_TRABECULAE or s in (Structure.AORTIC_ROOT, Structure.RV_OUTFLOW)
    } - {Structure.OUTSIDE}
    assert not {Structure(s).name for s in wanted - found}


@pytest.mark.parametrize("arguments, message", [({"seed": -1}, "seed is -1"), ({"sex": "X"}, "sex is 'X'")])
def test_bad_requests_name_value_and_cure(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Subject.random(**({"seed": 0} | arguments))


def test_esv_above_edv_is_refused() -> None:
    with pytest.raises(InputError, match="ESV 200 ml is not below EDV 150 ml"):
        Subject.random(0, edv_ml=150.0, esv_ml=200.0)


def test_a_mass_too_small_for_its_cavity_is_refused_and_not_bent() -> None:
    with pytest.raises(InputError, match="lv_mass_g is 8; around an EDV of 140 ml .* g is the least: raise"):
        Subject.random(3, edv_ml=140.0, esv_ml=60.0, mass_g=8.0)


def test_its_function_is_that_of_the_shells_it_is_made_of() -> None:
    subject = Subject.random(3, edv_ml=170.0, esv_ml=70.0, mass_g=120.0)
    assert subject.function.lv_esv_ml == pytest.approx(70.0, abs=1e-5)
    assert subject.function.lv_mass_g == pytest.approx(120.0, abs=1e-5)
    assert subject.volumes_ml(0.0)[0] == pytest.approx(170.0, abs=1e-5)


def test_children_have_smaller_hearts() -> None:
    child, adult = Subject.random(5, age_years=7.0), Subject.random(5, age_years=45.0)
    assert child.function.lv_edv_ml < 0.7 * adult.function.lv_edv_ml


def test_duchenne_is_drawn_in_boys_at_any_age_asked_for() -> None:
    # This seed draws a girl where the disease leaves it open.
    assert Subject.random(5, age_years=11.0).parameters.torso.sex == "F"
    assert Subject.random(5, pathology="dmd", age_years=11.0).parameters.torso.sex == "M"
    assert Subject.random(5, pathology="dmd", age_years=11.0, sex="F").parameters.torso.sex == "F"


def test_a_heart_of_unusual_proportions_fits_its_chest() -> None:
    """Few draws have a heart that reaches beyond the box that its volume suggests."""
    seed = np.random.SeedSequence(2026, spawn_key=(1, 0, 1010)).spawn(2)[0]
    subject = Subject.random(seed, pathology=None)
    assert subject.function.lv_edv_ml == pytest.approx(subject.parameters.heart.lv_edv_ml, rel=0.01)
