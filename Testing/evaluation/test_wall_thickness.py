"""Wall thickness per AHA segment."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.wall_thickness import wall_key, wall_of_heartbeat, wall_thickness
from CMRSimExtension.scanner.geometry import ImageGrid


def ring(inner=14.0, septal=6.0, lateral=10.0, slices=9, turn=0.0):
    """A wall whose thickness goes from `septal` on the side of the RV to `lateral` opposite; anterior is up."""
    rows, columns = np.mgrid[:120, :140]
    y, x = (rows - 59.5) * 1.25, columns - 69.5
    angle, radius = np.arctan2(y, x) - turn, np.hypot(y, x)
    towards = np.cos(angle - np.pi)  # 1 at the septum, on the left
    wall = septal + (lateral - septal) * (1.0 - towards) / 2.0
    labels = np.zeros(rows.shape, np.uint8)
    labels[(radius < inner + 22.0) & (towards > 0.5)] = 3
    labels[radius < inner + wall] = 2
    labels[radius < inner] = 1
    # Lateral (columns) x anterior (minus rows) points from base to apex: the usual view.
    return np.repeat(labels[None], slices, 0), ImageGrid(np.diag([1.0, -1.25, 8.0, 1.0]), (slices, 120, 140), 8.0)


def by_name(labels, grid):
    return dict(zip(SEGMENT_NAMES, wall_thickness(labels, grid).segments_mm, strict=True))


def test_wall_thickness_is_that_of_a_known_ring_on_anisotropic_pixels():
    found = wall_thickness(*ring(septal=8.0, lateral=8.0))
    # Rays through a voxelised ring err by up to half a pixel at either edge, less on average.
    assert np.allclose(found.segments_mm[:16], 8.0, atol=0.4)


def test_the_apex_is_not_measured_where_every_slice_shows_a_cavity():
    assert np.isnan(wall_thickness(*ring()).segments_mm[16])


@pytest.mark.parametrize("turn", [0.0, 0.7, 2.5])
def test_septal_segments_are_on_the_side_of_the_right_ventricle(turn):
    found = by_name(*ring(turn=turn))
    assert found["apical septal"] < 7.5 < 8.5 < found["apical lateral"]
    assert found["mid inferoseptal"] < found["mid inferolateral"]
    assert found["basal anteroseptal"] < found["basal anterolateral"]


def test_a_thick_anterior_wall_is_found_in_the_anterior_segments_of_a_mirrored_stack_too():
    labels, grid = ring(septal=8.0, lateral=8.0)
    upper = np.zeros(labels.shape, bool)
    upper[:, :35, 60:80] = True
    labels[upper & (labels == 0)] = 2
    mirrored = ImageGrid(np.diag([1.0, 1.25, 8.0, 1.0]), grid.shape, 8.0)
    usual, turned = by_name(labels, grid), by_name(labels, mirrored)
    assert usual["apical anterior"] > usual["apical inferior"] + 1
    assert turned["apical inferior"] > turned["apical anterior"] + 1


def test_thirds_of_the_ventricle_are_basal_mid_and_apical():
    labels, grid = ring(septal=8.0, lateral=8.0)
    labels[6:] = ring(septal=4.0, lateral=4.0)[0][6:]
    found = wall_thickness(labels, grid).segments_mm
    assert np.mean(found[:6]) == pytest.approx(np.mean(found[6:12]), abs=0.1)
    assert np.mean(found[12:16]) < 4.6


def test_without_a_right_ventricle_the_septum_must_be_given():
    labels, grid = ring()
    labels[labels == 3] = 0
    with pytest.raises(InputError, match="label 3"):
        wall_thickness(labels, grid)
    given = wall_thickness(labels, grid, septum_ras=np.array([-1.0, 0.0, 0.0]))
    assert given.segments_mm == pytest.approx(wall_thickness(*ring()).segments_mm, nan_ok=True)


def test_slices_without_a_wall_have_no_thickness():
    labels, grid = ring()
    labels[0] = 0
    assert np.isnan(wall_thickness(labels, grid).slices_mm[0])


def test_a_wall_without_a_blood_pool_is_refused():
    labels, grid = ring()
    labels[labels == 1] = 0
    with pytest.raises(InputError, match="label 1"):
        wall_thickness(labels, grid)


def test_a_heartbeat_has_the_thickness_of_both_its_ends():
    diastole, grid = ring(septal=8.0, lateral=8.0)
    systole, _ = ring(inner=9.0, septal=13.0, lateral=13.0)
    for order in (slice(None), slice(None, None, -1)):  # from base to apex, and the other way
        small = np.stack([ring(inner=14.0 - index, septal=8.0, lateral=8.0, slices=1)[0][0] for index in range(9)])
        found = wall_of_heartbeat(np.stack([small[order], systole]), grid, 0, 1)
        assert len(found) == 32 and wall_key("ed", "apex") not in found
        assert found[wall_key("ed", "mid inferior")] == pytest.approx(8.0, abs=0.4)
        assert found["wall_es_mm_mid_inferior"] == pytest.approx(13.0, abs=0.4)
    assert set(wall_of_heartbeat(diastole[None], grid, 0, None)) == {
        wall_key("ed", name) for name in SEGMENT_NAMES[:16]}


def test_fewer_slices_than_thirds_have_no_segments():
    labels, grid = ring(slices=2)
    with pytest.raises(InputError, match="2 slices show .* need 3"):
        wall_of_heartbeat(labels[None], grid, 0, None)
