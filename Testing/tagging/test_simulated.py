import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Material
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.simulated import motion_source, simulation_of, true_displacement


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


def test_the_motion_of_tags_is_told_by_what_laid_them():
    for source in ("true", "estimated", "none"):
        record = {"tagging": {"motion": {"source": source}}}
        assert motion_source(Cine(np.zeros((1, 1, 2, 2), np.float32), grid(), sidecar=record)) == source


def grid():
    return ImageGrid(np.eye(4), (1, 2, 2), 1.0)


def simulated(**changes):
    record = {"anatomy": {"kind": "parametric subject"}, "simulation": {"grid": {"affine_ras": np.eye(4).tolist()}}}
    return Cine(np.zeros((1, 1, 2, 2), np.float32), grid(), sidecar=record | changes)


def test_a_simulated_cine_has_its_own_record_and_a_tagged_one_that_of_its_source():
    cine = simulated()
    assert simulation_of(cine) is cine.sidecar
    tagged = {"tagging": {"motion": {"source": "true"}}, "source": cine.sidecar}
    assert simulation_of(Cine(cine.image, cine.grid, sidecar=tagged)) is cine.sidecar


@pytest.mark.parametrize("changes", [
    {"anatomy": {"kind": "label image"}}, {"anatomy": "damaged"}, {"simulation": {}}, {"simulation": "damaged"},
    {"simulation": {"grid": {"affine_ras": np.diag([1.0, 1, 1, 1]).tolist()[:3]}}},
    {"simulation": {"grid": {"affine_ras": np.diag([1.1, 1, 1, 1]).tolist()}}},
])
def test_what_was_not_scanned_from_a_subject_right_here_has_no_record_of_one(changes):
    assert simulation_of(simulated(**changes)) is None


def test_a_shifted_body_is_asked_where_it_lay(beating):
    class Stretching:
        def may_move(self, points):
            return np.ones(len(points), bool)

        def sample(self, points, moment, *, rest=True):
            none = np.zeros(len(points), np.uint8)
            return Material(none, none, none, points * 1.1)

    shifts = np.zeros((beating.grid.shape[0], 3))
    shifts[:, 2] = 5.0
    plain, shifted = (true_displacement(Stretching(), beating, s) for s in (None, shifts))
    # A tenth of the shift, in single precision at positions of a hundred millimetres.
    np.testing.assert_allclose(plain - shifted, np.broadcast_to([0, 0, 0.5], plain.shape), atol=1e-4)


def test_shifts_of_another_number_of_slices_are_refused(beating):
    with pytest.raises(InputError, match="is needed"):
        true_displacement(None, beating, np.zeros((99, 3)))
