"""The torso: every point has a structure, organs lie where they belong, and the heart has its place."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import default_heart_frame
from CMRSimExtension.anatomy.torso.torso import Torso

CASES = [(1, "M", 45.0), (2, "F", 60.0), (3, "M", 8.0), (4, "F", 14.0)]


def _torso(seed: int, sex: str, age: float, **given: float) -> Torso:
    rng = np.random.default_rng(seed)
    parameters = TorsoParameters.random(rng, sex=sex, age_years=age, **given)
    frame = default_heart_frame(parameters, rng)
    return Torso(parameters, frame, 0.61 * frame.lv_length_mm, seed)


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[1]}{c[2]:.0f}")
def torso(request: pytest.FixtureRequest) -> Torso:
    return _torso(*request.param)


def _box(torso: Torso, step: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Torso coordinates and structures of a grid over the trunk."""
    s = torso.parameters.body_scale
    x = np.arange(-260, 261, step) * s
    z = np.arange(-240, 181, step) * s
    points = np.stack(np.meshgrid(x, x, z, indexing="ij"), -1).reshape(-1, 3)
    return points, torso.sample(points + torso.origin_mm)


def test_the_same_seed_gives_the_same_torso(torso: Torso) -> None:
    again = Torso(torso.parameters, torso.heart_frame, torso.heart_radius_mm, torso.seed)
    points = np.random.default_rng(0).uniform(-150, 150, (5000, 3)) + torso.origin_mm
    assert np.array_equal(again.sample(points), torso.sample(points))


def test_no_air_from_outside_lies_within_the_chest_wall(torso: Torso) -> None:
    points, structure = _box(torso)
    within = np.hypot(points[:, 0] / torso.half_width_mm, points[:, 1] / torso.half_depth_mm) < 0.9
    assert not np.any(structure[within & (points[:, 2] < 0)] == Structure.OUTSIDE)
