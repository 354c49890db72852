"""Respiratory motion of the torso: an exact map that moves what moves in a breathing person."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.breathing import Breathing
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import default_heart_frame
from CMRSimExtension.anatomy.torso.torso import Torso
from CMRSimExtension.errors import InputError

INSPIRATION = 0.5
TRUNK = (3.0, 120.0, 75.0, -120.0, (0.0, -55.0, 18.0, 18.0), (-20.0, 15.0, 50.0))


@pytest.fixture(scope="module")
def torso() -> Torso:
    parameters = TorsoParameters("F", 50.0, 165.0, 66.0, diaphragm_excursion_mm=18.0, chest_expansion_mm=5.0)
    frame = default_heart_frame(parameters)
    return Torso(parameters, frame, 0.61 * frame.lv_length_mm, 9)


@pytest.fixture(scope="module")
def points(torso: Torso) -> np.ndarray:
    return np.random.default_rng(0).uniform(-200, 200, (20000, 3)) + torso.origin_mm


def test_end_expiration_is_rest(torso: Torso, points: np.ndarray) -> None:
    # Adding and taking the origin away rounds.
    assert np.allclose(torso.rest_mm(points, 0.0), points, rtol=0, atol=1e-12)


@pytest.mark.parametrize("phase", [0.2, 0.5, 0.85])
def test_the_two_maps_undo_each_other(torso: Torso, points: np.ndarray, phase: float) -> None:
    assert np.abs(torso.rest_mm(torso.current_mm(points, phase), phase) - points).max() < 1e-6
    assert np.abs(torso.current_mm(torso.rest_mm(points, phase), phase) - points).max() < 1e-6


def test_the_map_never_folds(torso: Torso, points: np.ndarray) -> None:
    step = 1e-3
    columns = [
        (torso.rest_mm(points + step * e, INSPIRATION) - torso.rest_mm(points - step * e, INSPIRATION)) / (2 * step)
        for e in np.eye(3)
    ]
    assert np.linalg.det(np.stack(columns, axis=-1)).min() > 0.3


def test_the_right_dome_goes_down_by_the_excursion(torso: Torso) -> None:
    dome = torso.origin_mm + np.array([62.0, 5.0, -25.0])
    way = torso.current_mm(dome[None], INSPIRATION)[0] - dome
    assert way[2] == pytest.approx(-18.0, rel=0.2)


def test_the_heart_follows_by_about_two_thirds(torso: Torso) -> None:
    """0.57 (right coronary) to 0.70 (left): Wang et al., Magn Reson Med 1995;33:713."""
    assert 0.55 * 18.0 < -torso.heart_shift_mm(INSPIRATION)[2] < 0.75 * 18.0


def test_the_heart_is_hardly_deformed(torso: Torso) -> None:
    frame = torso.heart_frame
    local = np.random.default_rng(1).uniform(-1, 1, (500, 3)) * np.array([30.0, 30.0, 35.0]) + np.array([-8, 0, 40.0])
    at = frame.to_ras(local)
    way = torso.current_mm(at, INSPIRATION) - at
    assert way[:, 2].std() < 1.5 and way[:, 1].std() < 1.0


def test_the_spine_stays(torso: Torso, points: np.ndarray) -> None:
    at = points[np.isin(torso.sample(points), [Structure.VERTEBRA, Structure.SPINAL_CANAL])]
    assert len(at) > 50
    way = torso.current_mm(at, INSPIRATION) - at
    assert np.median(np.abs(way[:, 2])) < 1.0 and np.abs(way[:, 2]).max() < 9.0


def test_the_front_of_the_chest_comes_forward_by_the_expansion(torso: Torso) -> None:
    front = torso.origin_mm + np.array([0.0, torso.half_depth_mm, 0.0])
    way = torso.current_mm(front[None], INSPIRATION)[0] - front
    assert way[1] == pytest.approx(5.0, rel=1e-6)
    assert way[2] == 0.0


def test_what_is_seen_in_inspiration_is_what_has_moved_there(torso: Torso, points: np.ndarray) -> None:
    now = torso.sample(torso.current_mm(points, INSPIRATION), INSPIRATION)
    # float32 rounding moves a few points across a boundary.
    assert np.mean(now != torso.sample(points)) < 1e-3


def test_breathing_dwells_at_end_expiration() -> None:
    """Lujan et al., Med Phys 1999;26:715: more than a third of the cycle within 10 % of the way."""
    phases = np.linspace(0, 1, 1000, endpoint=False)
    assert np.mean([Breathing.depth_of_breath(p) < 0.1 for p in phases]) > 0.35


def test_an_excursion_that_folds_the_trunk_is_refused() -> None:
    with pytest.raises(InputError, match="diaphragm_excursion_mm .* folds"):
        Breathing(60.0, *TRUNK, (-300.0, -180.0, 60.0, 120.0))


def test_heights_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match="must ascend"):
        Breathing(10.0, *TRUNK, (-300.0, 80.0, 60.0, 170.0))
