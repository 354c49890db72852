"""What a torso costs: once per subject, and per point."""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import default_heart_frame
from CMRSimExtension.anatomy.torso.torso import Torso

PARAMETERS = TorsoParameters("M", 45.0, 178.0, 80.0)


def _torso() -> Torso:
    frame = default_heart_frame(PARAMETERS)
    return Torso(PARAMETERS, frame, 0.61 * frame.lv_length_mm, 1)


def test_building_a_torso(benchmark: BenchmarkFixture) -> None:
    _torso()  # fills the shared noise volume
    benchmark(_torso)


@pytest.mark.parametrize("respiratory", [0.0, 0.5])
def test_sampling_a_short_axis_slice_of_256_by_256(benchmark: BenchmarkFixture, respiratory: float) -> None:
    torso = _torso()
    frame = torso.heart_frame
    a = np.linspace(-175.0, 175.0, 256)
    x, y = np.meshgrid(a, a)
    points = frame.to_ras(np.stack([x.ravel(), y.ravel(), np.full(x.size, 40.0)], axis=1)).astype(np.float32)
    structures = benchmark(torso.sample, points, respiratory)
    assert len(np.unique(structures)) > 15
