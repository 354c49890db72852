import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Material
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import draw_tissues
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.simulated import TagModulation, motion_source, true_displacement


@pytest.fixture
def modulation(beating):
    acquisition = TagOptions().acquisition(beating.grid, 1000.0)
    return TagModulation(acquisition, draw_tissues(np.random.default_rng(0), 1.5, spread=0.0))


def material(tissue, rest):
    tissue = np.asarray(tissue, np.uint8)
    return Material(tissue, tissue, np.zeros_like(tissue), rest)


@pytest.mark.parametrize(("tissue", "blood"), [(Tissue.MYOCARDIUM, False), (Tissue.BLOOD_ARTERIAL, True)])
def test_a_point_in_a_simulation_is_tagged_as_the_acquisition_says(modulation, tissue, blood):
    rest = np.random.default_rng(1).normal(0, 30, (40, 3))
    signal = np.full(40, 2.0 + 1.0j, np.complex64)
    found = modulation(material([tissue] * 40, rest), signal, 120.0)
    t1 = modulation.tissues.t1_ms[tissue]
    expected = signal * modulation.acquisition.factor(rest, 120.0, t1, blood=blood)
    # Single precision phases of up to a hundred radians.
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_points_without_rest_positions_cannot_be_tagged(modulation):
    with pytest.raises(InputError, match="rest position"):
        modulation(material([1], None), np.ones(1, np.complex64), 0.0)


def test_true_displacement_is_that_of_the_anatomy_at_each_slices_own_time(beating):
    class Sinking:
        """Everything moves 10 mm down over the cycle; the near half may move."""

        def may_move(self, points):
            return points[:, 0] < 20.0

        def sample(self, points, moment, *, rest=True):
            none = np.zeros(len(points), np.uint8)
            return Material(none, none, none, points + [0, 0, 10.0 * moment.cardiac])

    found = true_displacement(Sinking(), beating)
    near = beating.grid.points_mm()[..., 0] < 20.0
    np.testing.assert_allclose(found[5, near][:, 2], 5.0, atol=1e-5)
    assert not found[5, ~near].any()


def test_motion_of_label_images_is_called_an_estimate(beating):
    image, grid = beating.image, beating.grid
    assert motion_source(Cine(image, grid, sidecar={"anatomy": {"kind": "parametric subject"}})) == "true"
    assert motion_source(Cine(image, grid, sidecar={"anatomy": {"kind": "label image"}})) == "estimated"
