import numpy as np

from CMRSimExtension.anatomy.material import Material
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.simulated import motion_source, true_displacement


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
