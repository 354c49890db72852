"""Receive field and off-resonance: smooth, physical, reproducible, and the same on a grid as at its points."""

import json

import numpy as np
import pytest

from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.bias import ReceiveField
from CMRSimExtension.scanner.off_resonance import OffResonanceField
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol

PROTOCOL = Protocol(fov_mm=(300.0, 340.0), matrix=(150, 170), acquired_resolution_mm=(2.5, 2.5))


@pytest.fixture
def heart() -> HeartFrame:
    z = np.array([-0.55, 0.6, -0.58]) / np.linalg.norm([-0.55, 0.6, -0.58])
    x = np.cross([0.3, 0.7, 0.45], z)
    x /= np.linalg.norm(x)
    axes = np.stack([x, np.cross(z, x), z])
    origin = np.array([-10.0, 20.0, 35.0])
    return HeartFrame(origin, axes, 95.0, origin + axes.T @ [-55.0, 5.0, 45.0], origin + axes.T @ [-18.0, 12.0, -4.0])


def heart_points(heart: HeartFrame) -> np.ndarray:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.0, 1.0, (4000, 3))
    points = points[np.sum(points**2, axis=-1) < 1] * [45.0, 45.0, 48.0] + [0.0, 0.0, 45.0]
    return heart.to_ras(points)


def test_the_receive_field_is_one_at_the_heart_and_brighter_at_the_chest_wall(heart: HeartFrame) -> None:
    field = ReceiveField.draw(np.random.default_rng(0), heart.origin_mm)
    centre, front = field.at(heart.origin_mm + np.array([[0.0, 0.0, 0.0], [0.0, 65.0, 0.0]]))
    assert centre == pytest.approx(1.0) and front > 1.1


def test_a_strength_of_zero_leaves_images_uniform(heart: HeartFrame) -> None:
    field = ReceiveField(np.array([[0.0, 80.0, 0.0]]), 70.0, heart.origin_mm, 0.0)
    np.testing.assert_array_equal(field.at(heart_points(heart)), 1.0)


@pytest.mark.parametrize("kind", ["receive", "off-resonance"])
def test_a_field_on_a_grid_is_the_field_at_its_points(heart: HeartFrame, kind: str) -> None:
    rng = np.random.default_rng(2)
    field = ReceiveField.draw(rng, heart.origin_mm) if kind == "receive" else OffResonanceField.draw(rng, heart, 1.5)
    grid = plan(heart, PROTOCOL, slices=3)
    exact = field.at(grid.points_mm().reshape(-1, 3)).reshape(grid.shape)
    # Interpolated from a lattice of 6.5 or 12 mm: 0.3 % of the span is far below anything an image shows.
    assert np.abs(field.on(grid) - exact).max() < 3e-3 * np.ptp(exact)


@pytest.mark.parametrize("kind", ["receive", "off-resonance"])
def test_a_record_gives_the_field_back(heart: HeartFrame, kind: str) -> None:
    rng = np.random.default_rng(3)
    field = ReceiveField.draw(rng, heart.origin_mm) if kind == "receive" else OffResonanceField.draw(rng, heart, 3.0)
    again = type(field).from_dict(json.loads(json.dumps(field.as_dict())))
    np.testing.assert_array_equal(again.at(heart_points(heart)), field.at(heart_points(heart)))


def test_the_shim_takes_the_mean_out_over_the_heart(heart: HeartFrame) -> None:
    means = [
        OffResonanceField.draw(np.random.default_rng(s), heart, 1.5).at(heart_points(heart)).mean() for s in range(60)
    ]
    # What remains is the drawn error of the frequency adjustment: 0.10 ppm, 6.4 Hz, and a little of the slopes.
    assert np.std(means) < 10.0


def test_off_resonance_over_the_heart_spans_what_was_measured_in_volunteers(heart: HeartFrame) -> None:
    points = heart_points(heart)
    spans = [np.ptp(OffResonanceField.draw(np.random.default_rng(s), heart, 1.5).at(points)) for s in range(60)]
    # Reeder 1998: 71 +- 14 Hz peak to peak at 1.5 T in five volunteers; the bounds are wider.
    assert 45.0 < np.median(spans) < 130.0


def test_off_resonance_is_harmonic_away_from_its_sources(heart: HeartFrame) -> None:
    field = OffResonanceField.draw(np.random.default_rng(4), heart, 1.5)
    points = heart_points(heart)
    far = np.min(np.linalg.norm(points[:, None] - field.dipoles_mm, axis=-1) / field.radii_mm, axis=1) > 2.2
    points, step = points[far][:200].astype(float), 2.0

    def second(axis: int) -> np.ndarray:
        shift = np.zeros(3)
        shift[axis] = step
        return field._ppm(points + shift) - 2 * field._ppm(points) + field._ppm(points - shift)

    parts = np.stack([second(axis) for axis in range(3)])
    # The levelling-off of the harmonics and the softened spheres bend the field a little; three terms that did not
    # cancel would give 1.
    assert np.median(np.abs(parts.sum(axis=0)) / np.abs(parts).sum(axis=0)) < 0.35


def test_off_resonance_doubles_from_one_and_a_half_to_three_tesla(heart: HeartFrame) -> None:
    low, high = (OffResonanceField.draw(np.random.default_rng(5), heart, f).at(heart_points(heart)) for f in (1.5, 3.0))
    np.testing.assert_allclose(high, 2 * low, rtol=1e-5, atol=1e-4)


def test_an_amount_of_zero_is_a_perfect_magnet(heart: HeartFrame) -> None:
    field = OffResonanceField.draw(np.random.default_rng(6), heart, 3.0, amount=0.0)
    np.testing.assert_allclose(field.at(heart_points(heart)), 0.0, atol=1e-6)


def test_a_field_without_elements_is_turned_down(heart: HeartFrame) -> None:
    with pytest.raises(InputError, match="elements_mm"):
        ReceiveField(np.zeros((0, 3)), 70.0, heart.origin_mm, 0.5)
