"""The small grids and vessel volumes that make the torso fast, against plain references."""

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from CMRSimExtension.anatomy.torso.shapes import Ellipsoid, Ripple
from CMRSimExtension.anatomy.torso.tables import Table, circle_direction, circle_position
from CMRSimExtension.anatomy.torso.vessel_tree import MURRAY_EXPONENT, Branches, VesselVolume, grow_tree


def test_a_table_is_read_bilinearly() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((7, 5, 3))
    table = Table.of(values, (-3.0, 10.0), (0.5, 2.0))
    reference = RegularGridInterpolator((-3.0 + 0.5 * np.arange(7), 10.0 + 2.0 * np.arange(5)), values)
    p, q = rng.uniform(-3.0, -0.01, 200).astype(np.float32), rng.uniform(10.0, 17.9, 200).astype(np.float32)
    # The last 0.001 of a cell is left out, and values are single precision.
    assert np.allclose(table.at(p, q).T, reference(np.stack([p, q], -1)), atol=5e-3)


def test_a_table_continues_with_its_border() -> None:
    table = Table.of(np.arange(12.0).reshape(4, 3, 1), (0.0, 0.0), (1.0, 1.0))
    far = table.at(np.array([99.0], np.float32), np.array([-99.0], np.float32))
    assert far[0, 0] == pytest.approx(9.0, abs=5e-3)


def test_circle_positions_and_directions_undo_each_other() -> None:
    position = np.linspace(0.01, 3.99, 100)
    x, y = circle_direction(position)
    assert np.allclose(circle_position(x.astype(np.float32), y.astype(np.float32)), position, atol=1e-5)


def test_a_tree_reaches_every_tip() -> None:
    rng = np.random.default_rng(1)
    tips = rng.uniform(-50, 50, (200, 3))
    tree = grow_tree(rng, np.zeros(3), tips, 0.7, 8.0)
    gaps = np.linalg.norm(tips[:, None] - tree.end[None], axis=2).min(axis=1)
    # The last branch ends at its tip but for a jitter of 6 % of its length.
    assert np.median(gaps) < 2.0 and gaps.max() < 12.0


def test_every_branch_starts_where_another_ends() -> None:
    rng = np.random.default_rng(2)
    tree = grow_tree(rng, np.zeros(3), rng.uniform(-50, 50, (100, 3)), 0.7, 8.0)
    nodes = np.concatenate([np.zeros((1, 3)), tree.end])
    assert np.linalg.norm(tree.start[:, None] - nodes[None], axis=2).min(axis=1).max() == 0.0


def test_radii_follow_murrays_law() -> None:
    rng = np.random.default_rng(3)
    tree = grow_tree(rng, np.zeros(3), rng.uniform(-50, 50, (128, 3)), 0.7, 99.0)
    from_root = np.all(tree.start == 0.0, axis=1)
    carried = (tree.end_radius[from_root] ** MURRAY_EXPONENT).sum()
    assert carried == pytest.approx(128 * 0.7**MURRAY_EXPONENT)


def test_a_painted_tube_has_its_volume() -> None:
    tube = Branches(np.array([[0.0, 0.0, -20.0]]), np.array([[0.0, 0.0, 20.0]]), np.array([4.0]), np.array([4.0]))
    volume = VesselVolume.paint(tube, np.full(3, -30.0), np.full(3, 30.0), 1.5)
    rng = np.random.default_rng(4)
    points = rng.uniform((-8, -8, -15), (8, 8, 15), (60000, 3)).astype(np.float32)
    share = volume.inside(*points.T).mean()
    # Monte Carlo error 0.8 %, grid 1.5 mm.
    assert share == pytest.approx(np.pi * 16.0 / 256.0, rel=0.06)


def test_nothing_is_inside_an_empty_place() -> None:
    tube = Branches(np.zeros((1, 3)), np.array([[0.0, 0.0, 5.0]]), np.array([1.0]), np.array([1.0]))
    volume = VesselVolume.paint(tube, np.full(3, -30.0), np.full(3, 30.0), 1.5)
    far = np.full((3, 10), 25.0, dtype=np.float32)
    assert not volume.inside(*far).any()


def test_ripples_keep_volume() -> None:
    ripple = Ripple.draw(np.random.default_rng(5), (120.0, 60.0), (6.0, 3.0))
    points = np.random.default_rng(6).uniform(-100, 100, (200, 3))
    h = 1e-2
    jacobian = np.stack(
        [
            (np.stack(ripple.apply(*(points + h * e).T)) - np.stack(ripple.apply(*(points - h * e).T))).T / (2 * h)
            for e in np.eye(3)
        ],
        axis=-1,
    )
    # Wave vectors and amplitudes are single precision.
    assert np.allclose(np.linalg.det(jacobian), 1.0, atol=1e-4)


def test_an_ellipsoid_lies_in_its_bounds_and_touches_them() -> None:
    body = Ellipsoid.at((3.0, -2.0, 5.0), (10.0, 20.0, 30.0), (25.0, -40.0))
    low, high = body.bounds()
    axes = np.stack(np.meshgrid(*[np.linspace(a, b, 81) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
    inside = axes.reshape(-1, 3)[body.level(*axes.reshape(-1, 3).T.astype(np.float32)) < 1.0]
    spacing = (high - low) / 80
    # A thin cap between two grid planes may be missed: two planes.
    assert np.all(inside.max(axis=0) > high - 2 * spacing) and np.all(inside.min(axis=0) < low + 2 * spacing)
