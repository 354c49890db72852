"""Coil sensitivities against Biot-Savart's closed forms."""

import json

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.coils import CoilArray, field_of_polygon
from CMRSimExtension.scanner.geometry import ImageGrid


def oblique_grid() -> ImageGrid:
    turn = np.array([[0.80, -0.36, 0.48], [0.60, 0.48, -0.64], [0.0, 0.80, 0.60]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([2.0, 2.5, 10.0])
    affine[:3, 3] = affine[:3, :3] @ [-40.0, -30.0, -1.0]
    return ImageGrid(affine, (3, 60, 80), 8.0)


@pytest.mark.parametrize("height", [20.0, 50.0, 150.0])
def test_on_its_axis_a_loop_has_the_textbook_field(height: float) -> None:
    angle = 2 * np.pi * np.arange(400) / 400
    loop = 50.0 * np.stack([np.cos(angle), np.sin(angle), np.zeros(400)], axis=-1)
    field = field_of_polygon(np.array([[0.0, 0.0, height]]), loop[None])[0, 0]
    # B = mu0 I a^2 / (2 (a^2 + z^2)^(3/2)), here over mu0 I / (4 pi); 400 segments differ from a circle by 1e-4.
    np.testing.assert_allclose(field, [0, 0, 2 * np.pi * 50.0**2 / (50.0**2 + height**2) ** 1.5], rtol=2e-4, atol=1e-12)


def test_far_off_a_coil_is_a_dipole() -> None:
    array = CoilArray([[0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [30.0], [0.0, 40.0, 0.0])
    points = np.array([[700.0, 300.0, -400.0], [-500.0, 900.0, 100.0]])
    r = np.linalg.norm(points, axis=-1, keepdims=True)
    moment = np.pi * 30.0**2 * np.array([0.0, 1.0, 0.0])
    dipole = 3 * points * (points @ moment)[:, None] / r**5 - moment / r**3
    # The next multipole is smaller by (a/r)^2, 0.2 %.
    np.testing.assert_allclose(
        field_of_polygon(points, array.wires_mm)[:, 0], dipole, atol=6e-3 * np.abs(dipole).max()
    )


def test_the_field_has_no_divergence_and_no_curl() -> None:
    vertices = CoilArray.ring(3, np.zeros(3)).wires_mm
    point, step = np.array([13.0, -27.0, 41.0]), 1e-2

    def derivative(axis: int) -> np.ndarray:
        shift = np.zeros(3)
        shift[axis] = step
        return (field_of_polygon(point[None] + shift, vertices) - field_of_polygon(point[None] - shift, vertices))[0]

    gradient = np.stack([derivative(axis) for axis in range(3)], axis=-1)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(np.trace(gradient, axis1=-2, axis2=-1), 0.0, atol=1e-5 * scale)
    np.testing.assert_allclose(gradient, gradient.swapaxes(-1, -2), atol=1e-5 * scale)


def test_sensitivity_is_blind_to_field_along_the_magnet() -> None:
    # A loop that faces along B0 makes no transverse field on its axis.
    array = CoilArray([[0.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]], [50.0], [40.0, 0.0, 30.0])
    on_axis, off_axis = np.abs(array.sensitivities(np.array([[0.0, 0.0, 60.0], [40.0, 0.0, 30.0]]))[:, 0])
    assert on_axis < 1e-9 * off_axis


@pytest.mark.parametrize("coils", [1, 2, 5, 8, 18, 32])
def test_any_number_of_coils_sees_the_heart_with_unit_root_sum_of_squares(coils: int) -> None:
    heart = np.array([-20.0, 15.0, 40.0])
    array = CoilArray.body_and_spine(coils, heart)
    assert array.coils == coils
    assert np.linalg.norm(array.sensitivities(heart[None])) == pytest.approx(1.0)


def test_the_chest_wall_is_brighter_than_the_heart() -> None:
    array = CoilArray.body_and_spine(12, np.zeros(3))
    front, heart = np.linalg.norm(array.sensitivities(np.array([[0.0, 60.0, 0.0], [0.0, 0.0, 0.0]])), axis=-1)
    assert front > 1.4 * heart


def test_a_ring_is_symmetric_under_its_rotation() -> None:
    array = CoilArray.ring(6, np.zeros(3))
    turn = np.array([[0.5, -np.sqrt(3) / 2, 0.0], [np.sqrt(3) / 2, 0.5, 0.0], [0.0, 0.0, 1.0]])
    points = np.random.default_rng(0).uniform(-80.0, 80.0, (20, 3))
    here, there = np.abs(array.sensitivities(points)), np.abs(array.sensitivities(points @ turn.T))
    # A polygon of 24 corners is itself symmetric only roughly.
    np.testing.assert_allclose(np.roll(here, 1, axis=1), there, rtol=2e-2)


def test_maps_on_an_oblique_grid_equal_the_sensitivities_at_its_points() -> None:
    array, grid = CoilArray.body_and_spine(8, np.zeros(3)), oblique_grid()
    maps = array.on(grid)
    exact = np.moveaxis(array.sensitivities(grid.points_mm().reshape(-1, 3)).reshape(3, 60, 80, 8), -1, 0)
    assert maps.dtype == np.complex64 and maps.shape == (8, 3, 60, 80)
    # A cubic through a 12 mm lattice, away from the conductors themselves, where the sum of squares passes 2.
    inside = np.linalg.norm(exact, axis=0) < 2.0
    assert inside.mean() > 0.7
    assert np.abs(maps - exact)[:, inside].max() < 0.01


def test_a_record_gives_the_array_back() -> None:
    array = CoilArray.body_and_spine(7, np.zeros(3), rng=np.random.default_rng(1))
    again = CoilArray.from_dict(json.loads(json.dumps(array.as_dict())))
    points = np.array([[10.0, 20.0, 30.0]])
    np.testing.assert_array_equal(again.sensitivities(points), array.sensitivities(points))


def test_torch_gives_the_same_sensitivities() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    array = CoilArray.body_and_spine(5, np.zeros(3))
    points = np.random.default_rng(2).uniform(-60.0, 60.0, (50, 3)).astype(np.float32)
    got = array.sensitivities(torch.from_numpy(points))
    np.testing.assert_allclose(got.numpy(), array.sensitivities(points.astype(np.float64)), atol=2e-5)


@pytest.mark.parametrize("radius", [0.0, -10.0])
def test_a_loop_without_size_is_turned_down(radius: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        CoilArray([[0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [radius], [0.0, 40.0, 0.0])


def test_rings_need_a_multiple_of_coils() -> None:
    with pytest.raises(InputError, match="7 coils cannot be shared evenly by 2 rings"):
        CoilArray.ring(7, np.zeros(3), rows=2)
