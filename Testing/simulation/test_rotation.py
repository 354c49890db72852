"""A field of view turned in its plane: image, labels, tags and motion turn with it, and the heart stays where it is."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.planning import plan, slice_normal
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.tagging.options import TagOptions

SMALL = Protocol(phases=2, matrix=(88, 80), fov_mm=(264.0, 240.0), acquired_resolution_mm=(3.2, 3.2), slices=1)
TURN = 35.0


def test_a_turned_scan_is_that_of_the_turned_grid_with_labels_tags_and_motion(subject: Subject) -> None:
    tags = TagOptions(spacing_mm=9.0).acquisition
    protocol = SMALL.replace(sequence="gre")
    grid = plan(subject.heart_frame, protocol, in_plane_rotation_deg=TURN)
    truth = ("labels", "motion")
    turned = simulate(subject, protocol, 3, rotation_deg=TURN, preparation=tags, truth=truth)
    given = simulate(subject, protocol, 3, grid=grid, preparation=tags, truth=truth)
    np.testing.assert_array_equal(turned.image, given.image)
    np.testing.assert_array_equal(turned.labels, given.labels)
    np.testing.assert_array_equal(turned.displacement_mm, given.displacement_mm)
    assert turned.sidecar["simulation"]["rotation_deg"] == TURN


@pytest.mark.parametrize("plane", ["sax", "4ch"])
def test_the_heart_stays_in_the_body_while_the_field_of_view_turns(subject: Subject, plane: str) -> None:
    plain, turned = (simulate(subject, SMALL, 3, plane=plane, rotation_deg=angle) for angle in (0.0, TURN))
    np.testing.assert_allclose(slice_normal(turned.grid), slice_normal(plain.grid), atol=1e-12)
    columns = [cine.grid.affine_ras[:3, 0] / cine.grid.spacing_mm[0] for cine in (plain, turned)]
    assert columns[0] @ columns[1] == pytest.approx(np.cos(np.radians(TURN)))
    assert plain.labels is not None and turned.labels is not None
    # Where each labelled pixel of the turned image lies in the plain one.
    points = turned.grid.points_mm()[turned.labels[0] > 0]
    inverse = np.linalg.inv(plain.grid.affine_ras)
    place = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    there = plain.labels[0][place[:, 2], place[:, 1], place[:, 0]]
    # A nearest pixel is off by up to 2 mm at borders, of which a thin wall on 3 mm pixels has many.
    assert np.mean(there == turned.labels[0][turned.labels[0] > 0]) > 0.8
    assert (there > 0).mean() > 0.9


def test_a_positive_turn_turns_the_heart_anticlockwise_in_the_displayed_image(subject: Subject) -> None:
    def direction(angle: float) -> float:
        labels = simulate(subject, SMALL, 3, rotation_deg=angle).labels
        assert labels is not None
        left, right = (np.argwhere(labels[0, 0] == label).mean(axis=0) for label in (1, 3))
        return float(np.degrees(np.arctan2(-(right - left)[0], (right - left)[1])))

    # Rows count downwards; pixels of 3 mm on a distance of 40 leave a few degrees.
    assert (direction(TURN) - direction(0.0)) % 360.0 == pytest.approx(TURN, abs=6.0)


@pytest.mark.parametrize(("angle", "message"), [(200.0, "rotation_deg is 200"), (float("nan"), "rotation_deg is nan")])
def test_an_angle_out_of_range_is_refused(subject: Subject, angle: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(subject, SMALL, 3, rotation_deg=angle)


def test_a_given_grid_is_not_turned(subject: Subject) -> None:
    with pytest.raises(InputError, match="turn the grid itself"):
        simulate(subject, SMALL, 3, rotation_deg=10.0, grid=plan(subject.heart_frame, SMALL))
