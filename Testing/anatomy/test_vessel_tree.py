"""Vessel trees: every tip is reached, and fanned trees send trunks straight out from their root."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.torso.vessel_tree import Branches, VesselVolume, grow_tree


def tips(count: int = 400) -> np.ndarray:
    """In a shell around the origin, 20 to 100 mm away, all on the positive side of x."""
    rng = np.random.default_rng(1)
    at = rng.standard_normal((count, 3))
    at *= (rng.uniform(20.0, 100.0, count) / np.linalg.norm(at, axis=1))[:, None]
    at[:, 0] = np.abs(at[:, 0])
    return at


def grown(fan: int) -> Branches:
    return grow_tree(np.random.default_rng(2), np.zeros(3), tips(), 0.8, 6.0, fan)


@pytest.mark.parametrize("fan", [0, 5])
def test_every_tip_is_reached(fan: int) -> None:
    ends = grown(fan).end
    nearest = [np.linalg.norm(ends - tip, axis=1).min() for tip in tips()]
    # The last branch misses its tip by a little of its own length.
    assert np.median(nearest) < 3.0


def test_trunks_of_a_fanned_tree_radiate() -> None:
    def outwards(fan: int) -> float:
        branches = grown(fan)
        thick = branches.end_radius > 1.5
        way = (branches.end - branches.start)[thick]
        out = branches.end[thick]
        cosine = (way * out).sum(axis=1) / np.linalg.norm(way, axis=1) / np.linalg.norm(out, axis=1)
        return float(np.average(cosine, weights=np.linalg.norm(way, axis=1)))

    assert outwards(5) > 0.9
    assert outwards(5) > outwards(0) + 0.1


def test_a_fanned_tree_leaves_its_root_by_many_trunks() -> None:
    def trunks(fan: int) -> int:
        """Branches that cross a ball of 25 mm, a quarter of the way to the farthest tips."""
        branches = grown(fan)
        crosses = (np.linalg.norm(branches.start, axis=1) < 25.0) & (np.linalg.norm(branches.end, axis=1) > 25.0)
        return int(crosses.sum())

    assert trunks(5) >= 24 and trunks(0) <= 12


def test_a_painted_vessel_is_as_thick_as_it_is_told() -> None:
    line = Branches(np.array([[0.0, 0.3, 0.4]]), np.array([[40.0, 0.3, 0.4]]), np.array([2.0]), np.array([2.0]))
    volume = VesselVolume.paint(line, np.array([-5.0, -8.0, -8.0]), np.array([45.0, 8.0, 8.0]), 1.5)
    z = np.arange(-6.0, 6.0, 0.05, dtype=np.float32)
    inside = volume.inside(np.full_like(z, 20.0), np.full_like(z, 0.3), z)
    assert inside.sum() * 0.05 == pytest.approx(4.0, abs=0.6)
