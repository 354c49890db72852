"""Planes lie where a radiographer would put them, seen as a reader sees them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.planning import PLANES, finer_grid, plan, slice_normal
from CMRSimExtension.scanner.protocol import Protocol

PROTOCOL = Protocol(fov_mm=(300.0, 360.0), matrix=(200, 256), acquired_resolution_mm=(2.0, 1.8))


@pytest.fixture
def heart() -> HeartFrame:
    """An oblique heart, its apex to the left, in front and below."""
    z = np.array([-0.55, 0.6, -0.58]) / np.linalg.norm([-0.55, 0.6, -0.58])
    y = np.array([0.3, 0.7, 0.45])
    y -= (y @ z) * z
    y /= np.linalg.norm(y)
    axes = np.stack([np.cross(y, z), y, z])
    origin = np.array([-10.0, 20.0, 35.0])
    return HeartFrame(origin, axes, 95.0, origin + axes.T @ [-55.0, 5.0, 45.0], origin + axes.T @ [-18.0, 12.0, -4.0])


def in_heart(heart: HeartFrame, grid, column: float, row: float, slice_: float) -> np.ndarray:
    point = grid.affine_ras @ np.array([column, row, slice_, 1.0])
    return heart.to_heart(point[None, :3])[0]


def test_the_fixture_is_right_handed(heart: HeartFrame) -> None:
    assert np.linalg.det(heart.axes) == pytest.approx(1.0)


def test_short_axis_slices_start_above_the_annulus_and_pass_the_apex(heart: HeartFrame) -> None:
    grid = plan(heart, PROTOCOL, "sax")
    first, last = in_heart(heart, grid, 0, 0, 0)[2], in_heart(heart, grid, 0, 0, grid.shape[0] - 1)[2]
    assert -10.0 <= first < 0.0
    assert last + 0.5 * PROTOCOL.slice_spacing_mm >= heart.lv_length_mm


@pytest.mark.parametrize("slices", [1, 2, 3, 5])
def test_few_short_axis_slices_lie_around_the_middle_of_the_ventricle(heart: HeartFrame, slices: int) -> None:
    grid = plan(heart, PROTOCOL, "sax", slices=slices)
    middle = in_heart(heart, grid, 0, 0, 0.5 * (slices - 1))[2]
    assert middle == pytest.approx(0.5 * heart.lv_length_mm, abs=1e-6)


def test_short_axis_slices_go_from_base_to_apex_by_thickness_plus_gap(heart: HeartFrame) -> None:
    grid = plan(heart, PROTOCOL, "sax")
    step = in_heart(heart, grid, 0, 0, 1) - in_heart(heart, grid, 0, 0, 0)
    np.testing.assert_allclose(step, [0, 0, 10.0], atol=1e-9)


def test_a_short_axis_image_shows_the_free_wall_on_the_right_and_the_anterior_wall_at_the_top(
    heart: HeartFrame,
) -> None:
    grid = plan(heart, PROTOCOL, "sax")
    middle = in_heart(heart, grid, 128, 100, 4)
    assert in_heart(heart, grid, 140, 100, 4)[0] > middle[0]
    assert in_heart(heart, grid, 128, 80, 4)[1] > middle[1]


def test_the_long_axis_passes_through_every_short_axis_image_near_its_middle(heart: HeartFrame) -> None:
    grid = plan(heart, PROTOCOL, "sax")
    apex = heart.to_ras(np.array([[0.0, 0.0, heart.lv_length_mm]]))[0]
    column, row, *_ = np.linalg.inv(grid.affine_ras) @ [*apex, 1.0]
    assert 0.4 < column / 256 < 0.65 and 0.4 < row / 200 < 0.6


@pytest.mark.parametrize("plane", ["2ch", "3ch", "4ch"])
@pytest.mark.parametrize("along", [0.0, 0.5, 1.0])
def test_long_axis_planes_hold_the_whole_long_axis(heart: HeartFrame, plane: str, along: float) -> None:
    grid = plan(heart, PROTOCOL, plane)
    point = heart.to_ras(np.array([[0.0, 0.0, along * heart.lv_length_mm]]))[0]
    slice_ = (np.linalg.inv(grid.affine_ras) @ [*point, 1.0])[2]
    assert slice_ == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("plane", "target"), [("4ch", "rv_centre_mm"), ("3ch", "aortic_valve_mm")])
def test_three_and_four_chamber_planes_hold_their_landmark(heart: HeartFrame, plane: str, target: str) -> None:
    grid = plan(heart, PROTOCOL, plane)
    across = getattr(heart, target) - heart.origin_mm
    assert across @ slice_normal(grid) == pytest.approx(0.0, abs=1e-9)


def test_a_four_chamber_image_shows_the_apex_at_the_top_and_the_rv_on_the_left(heart: HeartFrame) -> None:
    inverse = np.linalg.inv(plan(heart, PROTOCOL, "4ch").affine_ras)
    apex = inverse @ [*heart.to_ras(np.array([[0.0, 0.0, 95.0]]))[0], 1.0]
    base = inverse @ [*heart.origin_mm, 1.0]
    rv = inverse @ [*heart.rv_centre_mm, 1.0]
    assert apex[1] < base[1] and rv[0] < base[0]


def test_an_axial_image_shows_the_right_side_on_the_left_and_the_front_at_the_top(heart: HeartFrame) -> None:
    affine = plan(heart, PROTOCOL, "axial").affine_ras
    assert affine[0, 0] < 0 and affine[1, 1] < 0 and affine[2, 2] < 0


def test_a_whole_heart_volume_covers_the_heart_with_isotropic_voxels(heart: HeartFrame) -> None:
    grid = plan(heart, Protocol.preset("whole_heart_1.5t"), "whole_heart")
    assert max(grid.spacing_mm) == pytest.approx(min(grid.spacing_mm))
    for point in (heart.origin_mm, heart.rv_centre_mm, heart.to_ras(np.array([[0.0, 0.0, 95.0]]))[0]):
        index = (np.linalg.inv(grid.affine_ras) @ [*point, 1.0])[:3]
        assert np.all(index > 0) and np.all(index < np.array(grid.shape[::-1]))


def test_a_whole_heart_volume_of_thick_slices_is_turned_down(heart: HeartFrame) -> None:
    with pytest.raises(InputError, match="isotropic.*whole_heart_1.5t"):
        plan(heart, PROTOCOL, "whole_heart")


@pytest.mark.parametrize("plane", [p for p in PLANES if p != "whole_heart"])
def test_the_axes_of_every_plane_are_orthogonal_and_of_the_protocols_spacing(heart: HeartFrame, plane: str) -> None:
    grid = plan(heart, PROTOCOL, plane, in_plane_rotation_deg=25.0, tilt_deg=(4.0, -3.0), slices=3)
    matrix = grid.affine_ras[:3, :3]
    expected = np.diag(np.square([360.0 / 256, 1.5, 10.0]))
    np.testing.assert_allclose(matrix.T @ matrix, expected, atol=1e-9)


def test_the_centre_offset_moves_the_field_of_view_along_its_own_axes(heart: HeartFrame) -> None:
    plain, moved = plan(heart, PROTOCOL), plan(heart, PROTOCOL, centre_offset_mm=(3.0, -4.0, 5.0))
    directions = plain.affine_ras[:3, :3] / np.array(plain.spacing_mm)
    shift = moved.affine_ras[:3, 3] - plain.affine_ras[:3, 3]
    np.testing.assert_allclose(directions.T @ shift, [3.0, -4.0, 5.0], atol=1e-9)


def test_in_plane_rotation_turns_the_columns_towards_the_rows(heart: HeartFrame) -> None:
    plain, turned = plan(heart, PROTOCOL), plan(heart, PROTOCOL, in_plane_rotation_deg=30.0)
    columns, rows = plain.affine_ras[:3, 0] / (360 / 256), plain.affine_ras[:3, 1] / 1.5
    found = turned.affine_ras[:3, 0] / (360 / 256)
    np.testing.assert_allclose(found, np.cos(np.pi / 6) * columns + np.sin(np.pi / 6) * rows, atol=1e-12)


def test_tilt_turns_the_slices_by_its_angle(heart: HeartFrame) -> None:
    plain, tilted = plan(heart, PROTOCOL), plan(heart, PROTOCOL, tilt_deg=(0.0, 7.0))
    angle = np.degrees(np.arccos(slice_normal(plain) @ slice_normal(tilted)))
    assert angle == pytest.approx(7.0)


def test_planning_moves_with_the_patient(heart: HeartFrame) -> None:
    turn, shift = Rotation.from_euler("xyz", [20.0, -35.0, 50.0], degrees=True).as_matrix(), np.array([5.0, -8.0, 40.0])
    moved = HeartFrame(
        turn @ heart.origin_mm + shift, heart.axes @ turn.T, heart.lv_length_mm, turn @ heart.rv_centre_mm + shift,
        turn @ heart.aortic_valve_mm + shift,
    )  # fmt: skip
    for plane in ("sax", "2ch", "3ch", "4ch"):
        here, there = plan(heart, PROTOCOL, plane).affine_ras, plan(moved, PROTOCOL, plane).affine_ras
        np.testing.assert_allclose(there[:3, :3], turn @ here[:3, :3], atol=1e-9)
        np.testing.assert_allclose(there[:3, 3], turn @ here[:3, 3] + shift, atol=1e-9)


def test_an_unknown_plane_is_turned_down_with_the_known_ones(heart: HeartFrame) -> None:
    with pytest.raises(InputError, match="'coronal'; choose from sax"):
        plan(heart, PROTOCOL, "coronal")


def test_a_landmark_on_the_long_axis_fixes_no_plane(heart: HeartFrame) -> None:
    lost = HeartFrame(heart.origin_mm, heart.axes, 95.0, heart.origin_mm, heart.aortic_valve_mm)
    with pytest.raises(InputError, match="rv_centre_mm"):
        plan(lost, PROTOCOL, "4ch")


def test_a_finer_grid_fills_the_same_field_of_view(heart: HeartFrame) -> None:
    grid = plan(heart, PROTOCOL)
    fine = finer_grid(grid, (3, 2))
    blocks = fine.points_mm().reshape(grid.shape[0], 200, 3, 256, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(blocks, grid.points_mm(), atol=1e-9)


def test_a_finer_grid_can_lie_off_the_centre_plane(heart: HeartFrame) -> None:
    grid = plan(heart, PROTOCOL)
    shift = finer_grid(grid, 1, through_plane_offset_mm=2.5).affine_ras[:3, 3] - grid.affine_ras[:3, 3]
    np.testing.assert_allclose(heart.axes @ shift, [0.0, 0.0, 2.5], atol=1e-9)
