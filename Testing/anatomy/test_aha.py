import numpy as np
import pytest

from CMRSimExtension.anatomy.aha import VentricleAxes, aha_segments
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid


def ring(slices=6, flip=False):
    """A ring with the RV on its left; rows run down, columns right, slices from base to apex away from the reader.

    Seen from the apex (the usual view) the first row is anterior: right = lateral, up = anterior, so that
    (right, up, into the screen towards the base) ... the slices' own direction is right x up reversed twice.
    """
    y, x = np.mgrid[:64, :64]
    radius = np.hypot(x - 32, y - 32)
    labels = np.zeros((slices, 64, 64), np.uint8)
    labels[:, (x < 20) & (np.abs(y - 32) < 9) & (radius < 26)] = 3
    labels[:, radius < 18] = 2
    labels[:-1, radius < 10] = 1  # the last slice has no cavity: the apex
    # Lateral (columns) x anterior (minus rows) points base to apex: a right-handed frame.
    affine = np.diag([1.5, -1.5, 8.0 if not flip else -8.0, 1.0])
    return labels, ImageGrid(affine, labels.shape, 8.0)


@pytest.mark.parametrize(
    ("angle_deg", "basal", "apical"),
    [(90, 1, 13), (150, 2, 14), (210, 3, 14), (270, 4, 15), (330, 5, 16), (30, 6, 16)],
)
def test_segments_lie_round_the_axis_as_the_heart_association_numbers_them(angle_deg, basal, apical):
    labels, grid = ring()
    segments = aha_segments(labels, grid)
    row = 32 - round(14 * np.sin(np.deg2rad(angle_deg)))
    column = 32 + round(14 * np.cos(np.deg2rad(angle_deg)))
    assert segments[0, row, column] == basal
    assert segments[2, row, column] == basal + 6
    assert segments[4, row, column] == apical


def test_below_the_cavity_lies_the_apex():
    labels, grid = ring()
    assert set(np.unique(aha_segments(labels, grid)[-1])) == {0, 17}


def test_every_voxel_of_muscle_has_a_segment_and_nothing_else_has():
    labels, grid = ring()
    np.testing.assert_array_equal(aha_segments(labels, grid) > 0, labels == 2)


def test_a_mirrored_stack_has_its_anterior_wall_on_the_other_side():
    labels, grid = ring(flip=True)
    segments = aha_segments(labels, grid)
    assert segments[0, 32 - 14, 32] == 4
    assert segments[0, 32 + 14, 32] == 1


def test_directions_are_orthonormal_and_point_outward_and_to_the_apex():
    labels, grid = ring()
    axes = VentricleAxes.from_labels(labels, grid)
    points = grid.points_mm()[labels == 2][::17]
    radial, circumferential, longitudinal = axes.directions(points)
    together = np.stack([radial, circumferential, longitudinal], axis=1)
    np.testing.assert_allclose(together @ together.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (len(points), 3, 3)),
                               atol=1e-9)
    np.testing.assert_allclose(longitudinal @ [0, 0, 1], 1.0)
    centre = grid.affine_ras @ [32, 32, 0, 1]
    assert np.all(np.einsum("ni,ni->n", radial[:, :2], (points - centre[:3])[:, :2]) > 0)


def test_without_a_right_ventricle_the_septum_must_be_given():
    labels, grid = ring()
    labels[labels == 3] = 0
    with pytest.raises(InputError, match="septum is unknown"):
        aha_segments(labels, grid)
    given = aha_segments(labels, grid, septum_ras=np.array([-1.0, 0.0, 0.0]))
    assert given[0, 32 - 14, 32] == 1


def test_labels_without_muscle_are_refused():
    labels, grid = ring()
    labels[labels == 2] = 0
    with pytest.raises(InputError, match="no LV myocardium"):
        aha_segments(labels, grid)
