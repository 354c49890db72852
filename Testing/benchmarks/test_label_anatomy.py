"""How long anatomy from labels takes: building it, sampling it, and the texture."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.label_image import LabelAnatomy
from CMRSimExtension.anatomy.material import Moment
from CMRSimExtension.anatomy.texture import TissueTexture
from Testing.anatomy import labelled_phantom as phantom

COUNT = 200_000


@pytest.fixture(scope="module")
def anatomy() -> LabelAnatomy:
    return LabelAnatomy(phantom.labels(), phantom.affine(), "acdc")


@pytest.fixture(scope="module")
def points(anatomy: LabelAnatomy) -> np.ndarray:
    heart = np.random.default_rng(0).uniform([-110, -90, -40], [90, 90, 110], (COUNT, 3))
    return anatomy.heart_frame.to_ras(heart)


def test_build(benchmark):
    benchmark.pedantic(LabelAnatomy, (phantom.labels(), phantom.affine(), "acdc"), rounds=2)


@pytest.mark.parametrize("phase", [0.0, 0.25])
def test_sample_200000_points(benchmark, anatomy, points, phase):
    benchmark(anatomy.sample, points, Moment(phase))


def test_texture_of_200000_points(benchmark, points):
    texture = TissueTexture(np.random.default_rng(1))
    tissue = np.random.default_rng(2).integers(0, 23, COUNT).astype(np.uint8)
    benchmark(texture.gain, tissue, points)
