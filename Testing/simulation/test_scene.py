"""A slice in front of the scanner, on an anatomy simple enough to be reckoned by hand."""

from dataclasses import replace

import numpy as np

from CMRSimExtension.anatomy.composition import TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.material import HeartFrame, Material, Moment
from CMRSimExtension.anatomy.structures import Structure, Tissue
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.scene import EDGE_SAMPLES, Preparation, SliceScene

SLOPE = 0.13


class HalfFat:
    """Fat above a slanting line, muscle below it; the left half of the plane may beat."""

    cycle_ms = 1000.0
    heart_frame = HeartFrame(np.zeros(3), np.eye(3), 90.0, np.array([-40.0, 0.0, 30.0]), np.array([-10.0, 15.0, -5.0]))

    def sample(self, points_mm, moment, *, rest=True):
        points = np.asarray(points_mm)
        fat = points[:, 1] > SLOPE * points[:, 0]
        structure = np.where(fat, Structure.BODY_FAT, Structure.MUSCLE).astype(np.uint8)
        return Material(structure, TISSUE_OF_STRUCTURE[structure], np.zeros_like(structure), points if rest else None)

    def may_move(self, points_mm):
        return np.asarray(points_mm)[:, 0] < 0.0

    def hold(self, points_mm, respiratory):
        def at(cardiac, chosen=None):
            return self.sample(points_mm if chosen is None else points_mm[chosen], Moment(cardiac, respiratory))

        return at


def fat_of(scene: SliceScene) -> np.ndarray:
    return scene.fractions(scene.beating(0.0))[Tissue.FAT]


def scene_of(sub_samples: int, preparation: Preparation | None = None) -> SliceScene:
    grid = ImageGrid(np.diag([2.0, 2.0, 8.0, 1.0]) + np.array([[0, 0, 0, -39.0]] * 2 + [[0] * 4] * 2), (1, 40, 40), 8.0)
    anatomy, protocol = HalfFat(), Protocol(matrix=(40, 40), fov_mm=(80.0, 80.0), acquired_resolution_mm=(2.0, 2.0))
    return SliceScene(
        anatomy,
        protocol,
        replace(Appearance.draw(np.random.default_rng(1), anatomy, protocol), texture_strength=0.0),
        grid,
        0,
        sub_samples=sub_samples,
        preparation=preparation,
    )


def area_of_fat() -> np.ndarray:
    """Exact to 1/400 of a voxel."""
    fine = (np.arange(40 * 20) + 0.5) / 10.0 - 40.0
    x, y = np.meshgrid(fine, fine, indexing="xy")
    return (y > SLOPE * x).reshape(40, 20, 40, 20).mean(axis=(1, 3))


def test_voxels_with_a_border_are_looked_into_more_closely() -> None:
    scene = scene_of(6)
    content, exact = scene.beating(0.0), area_of_fat()
    assert content.edge_tissue.shape == (6 * EDGE_SAMPLES, len(content.edges)) and len(content.edges) > 15
    error = np.abs(fat_of(scene) - exact)
    crossed = (exact > 0.02) & (exact < 0.98)
    # Six points alone: 0.063 on average. Beating and resting half alike.
    assert error[crossed].mean() < 0.04
    assert error[:, :20][crossed[:, :20]].mean() < 0.045 and error[:, 20:][crossed[:, 20:]].mean() < 0.045


def test_a_voxel_within_one_tissue_is_not() -> None:
    scene = scene_of(6)
    exact = area_of_fat()
    inside = np.flatnonzero(((exact == 0.0) | (exact == 1.0)).reshape(-1))
    for part, content in ((scene.resting, scene.still), (scene.moving, scene.beating(0.0))):
        assert not set(part[content.edges]) & set(inside)


def test_signal_label_and_fractions_of_a_voxel_tell_of_the_same_points() -> None:
    scene = scene_of(4)
    content = scene.beating(0.0)
    shares = scene.fractions(content)
    structure = scene.labels(content, "structure")
    clear = np.abs(shares[Tissue.FAT] - 0.5) > 0.01
    assert ((structure == Structure.BODY_FAT) == (shares[Tissue.FAT] > 0.5))[clear].all()
    np.testing.assert_allclose(shares.sum(axis=0), 1.0, atol=1e-6)
    # Without texture a voxel's signal is that of fat and muscle at its off-resonance, by their shares.
    for part, inside in ((scene.resting, scene.still), (scene.moving, content)):
        table = scene._table.values[:, scene._bins[part]]
        fat = shares[Tissue.FAT].reshape(-1)[part]
        expected = fat * table[Tissue.FAT] + (1.0 - fat) * table[Tissue.MUSCLE]
        np.testing.assert_allclose(inside.signal, expected, rtol=1e-4, atol=1e-5)
        assert len(inside.edges) > 10


def test_a_moment_asked_for_twice_is_sampled_once_and_no_other_is_taken_for_it() -> None:
    scene = scene_of(4)
    first = scene.beating(0.0)
    assert scene.beating(0.0, time_ms=30.0) is first  # without a preparation nothing fades
    assert not scene.beating(0.0, np.zeros(256, np.float32)).signal.any()
    np.testing.assert_array_equal(scene.beating(0.0).signal, first.signal)

    class Fading:
        def factor(self, material, tissues, time_ms):
            return np.full(len(material.tissue), time_ms)

    faded = scene_of(4, Fading())
    early, late = faded.beating(0.0, None, 1.0).signal, faded.beating(0.0, None, 2.0).signal
    np.testing.assert_allclose(late, 2.0 * early, rtol=1e-5)
