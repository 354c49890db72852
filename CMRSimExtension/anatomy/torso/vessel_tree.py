"""Branching vessel trees that fill an organ, and the volume they are looked up in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.torso.tables import Float, _cell

MURRAY_EXPONENT = 2.7
"""r_parent^n = sum r_child^n; 2.7 is assumed, within the 2.92 +- 1.07 of human pulmonary arteries (Dong et al.,
Am J Physiol Heart Circ Physiol 2020;319:H432)."""


@dataclass(frozen=True)
class Branches:
    """Straight pieces of vessel: (n, 3) ends in mm and (n,) radii at both ends."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    start_radius: NDArray[np.float64]
    end_radius: NDArray[np.float64]

    @classmethod
    def join(cls, parts: Sequence["Branches"]) -> "Branches":
        """All branches of several trees."""
        return cls(
            np.concatenate([p.start for p in parts]),
            np.concatenate([p.end for p in parts]),
            np.concatenate([p.start_radius for p in parts]),
            np.concatenate([p.end_radius for p in parts]),
        )


def grow_tree(
    rng: np.random.Generator,
    root: NDArray[np.floating],
    tips: NDArray[np.floating],
    tip_radius_mm: float,
    largest_mm: float,
    fan: int = 0,
) -> Branches:
    """A binary tree from `root` to all `tips` (n, 3): each branch serves a cluster that is halved at its end.

    The clusters are halved across their longest direction, generation by generation, so near tips share their way, as
    in the space-filling construction of Wang, Bassingthwaighte and Weissman (Math Comput Model 1992;16:91). Radii
    follow Murray's law from the number of tips served, cut at `largest_mm`. The first `fan` generations fork close to
    the root, by the direction in which the tips lie from it, so that 2^fan trunks radiate from there, each far along
    the axis of the cone that it serves.
    """
    n = len(tips)
    cluster = np.zeros(n, dtype=np.int64)
    node = np.asarray(root, dtype=float)[None]
    radius = np.array([min(tip_radius_mm * n ** (1.0 / MURRAY_EXPONENT), largest_mm)])
    parts: list[Branches] = []
    active = np.arange(n)
    seen = tips - node
    seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
    generation = 0
    while len(active):
        count = np.bincount(cluster, minlength=len(node)).astype(float)
        where = seen if generation < fan else tips
        sums = np.stack([np.bincount(cluster, where[active, k], len(node)) for k in range(3)], 1)
        centre = sums / np.maximum(count, 1.0)[:, None]
        offset = where[active] - centre[cluster]
        spread = np.stack([np.bincount(cluster, offset[:, k] ** 2, len(node)) for k in range(3)], 1)
        # Halving along a slightly random axis keeps the tree from looking like a grid.
        axis = np.sqrt(spread) * rng.uniform(0.4, 1.0, spread.shape) * rng.choice((-1.0, 1.0), spread.shape)
        side = (np.einsum("ij,ij->i", offset, axis[cluster]) > 0).astype(np.int64)
        child = 2 * cluster + side
        served = np.bincount(child, minlength=2 * len(node)).astype(float)
        sums = np.stack([np.bincount(child, tips[active, k], 2 * len(node)) for k in range(3)], 1)
        goal = sums / np.maximum(served, 1.0)[:, None]
        used = np.flatnonzero(served)
        parent = used // 2
        # Go part of the way to the children's centre, so branches fork before the cluster, not inside it.
        near, far = (0.35, 0.55) if not fan else (0.08, 0.20) if generation < fan else (0.60, 0.80)
        generation += 1
        share = np.where(served[used] > 1, rng.uniform(near, far, len(used)), 1.0)[:, None]
        end = node[parent] + share * (goal[used] - node[parent])
        end += rng.normal(0.0, 0.06, end.shape) * np.linalg.norm(end - node[parent], axis=1, keepdims=True)
        end_radius = np.minimum(tip_radius_mm * served[used] ** (1.0 / MURRAY_EXPONENT), largest_mm)
        start_radius = np.minimum(radius[parent], 1.25 * end_radius)
        parts.append(Branches(node[parent], end, start_radius, end_radius))
        renumber = np.full(2 * len(node), -1, dtype=np.int64)
        going = served[used] > 1
        renumber[used[going]] = np.arange(going.sum())
        cluster = renumber[child]
        active = active[cluster >= 0]
        cluster = cluster[cluster >= 0]
        node, radius = end[going], end_radius[going]
    return Branches.join(parts)


@dataclass(frozen=True)
class VesselVolume:
    """Signed distance to the vessels' surface on a regular grid, 8 bits per node; positive inside.

    Attributes
    ----------
    values
        (a, b, c) uint8: 128 + 64 mm^-1 times distance inside the surface, over the grid spacing.
    start, step
        Position of the first node and spacing, mm.
    """

    values: NDArray[np.uint8]
    start: tuple[float, float, float]
    step: float

    @classmethod
    def paint(
        cls, branches: Branches, low: NDArray[np.floating], high: NDArray[np.floating], step: float
    ) -> "VesselVolume":
        """Draw all branches into the box from `low` to `high` (mm)."""
        low = np.asarray(low, dtype=float)
        shape = np.ceil((np.asarray(high) - low) / step).astype(int) + 1
        flat = np.zeros(int(np.prod(shape)), dtype=np.uint8)
        centres, radii = _beads(branches, 0.8 * step)
        cells = (centres - low) / step
        radii = radii / step
        # Stamps of growing size: few vessels are thick, so each bead pays only for its own size.
        limits = [0.0, 0.75, 1.5, 2.5, 4.0, 6.0, np.inf]
        for lower, upper in zip(limits[:-1], limits[1:], strict=True):
            chosen = (radii > lower) & (radii <= upper)
            if chosen.any():
                reach = int(np.ceil(min(upper, radii[chosen].max()) + 1.0))
                _stamp(flat, shape, cells[chosen], radii[chosen], reach)
        return cls(flat.reshape(shape), (float(low[0]), float(low[1]), float(low[2])), step)

    def inside(self, x: Float, y: Float, z: Float) -> NDArray[np.bool_]:
        """(n,) mask of the points inside a vessel; the box's border counts on beyond it."""
        a, b, c = self.values.shape
        i, fi = _cell(x, self.start[0], self.step, a)
        j, fj = _cell(y, self.start[1], self.step, b)
        k, fk = _cell(z, self.start[2], self.step, c)
        flat = self.values.reshape(-1)
        index = (i * np.int32(b) + j) * np.int32(c) + k
        # Most points are far from any vessel: two opposite corners tell, and the other six need not be read.
        near = np.flatnonzero(flat.take(index) | flat.take(index + np.int32((b + 1) * c + 1)))
        out = np.zeros(len(index), dtype=bool)
        if len(near) == 0:
            return out
        index, fi, fj, fk = index[near], fi[near], fj[near], fk[near]
        value = np.zeros(len(near), dtype=np.float32)
        for di in (0, 1):
            wi = fi if di else 1 - fi
            for dj in (0, 1):
                wij = wi * (fj if dj else 1 - fj)
                base = index + np.int32((di * b + dj) * c)
                below = flat.take(base).astype(np.float32)
                value += wij * (below + (flat.take(base + 1) - below) * fk)
        out[near] = value > 128
        return out


def _beads(branches: Branches, spacing: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points along the branches, at most `spacing` apart, and the radii there."""
    length = np.linalg.norm(branches.end - branches.start, axis=1)
    count = np.maximum(np.ceil(length / spacing).astype(np.int64), 1)
    which = np.repeat(np.arange(len(count)), count)
    first = np.cumsum(count) - count
    t = (np.arange(len(which)) - first[which] + 0.5) / count[which]
    centres = branches.start[which] + t[:, None] * (branches.end - branches.start)[which]
    radii = branches.start_radius[which] + t * (branches.end_radius - branches.start_radius)[which]
    return centres, radii


def _stamp(
    flat: NDArray[np.uint8], shape: NDArray[np.int_], cells: NDArray[np.float64], radii: NDArray[np.float64], reach: int
) -> None:
    """Raise the nodes within `reach` cells of each bead to their distance inside it (in cells)."""
    node = np.rint(cells).astype(np.int64)
    fits = np.all((node >= reach) & (node < shape - reach), axis=1)
    node, radii = node[fits], radii[fits].astype(np.float32)
    base = (node[:, 0] * shape[1] + node[:, 1]) * shape[2] + node[:, 2]
    span = np.arange(-reach, reach + 1)
    rest = (node - cells[fits]).astype(np.float32)
    squares = (rest.T[:, None, :] + span[None, :, None].astype(np.float32)) ** 2  # (axis, offset, bead)
    largest = float(radii.max()) if len(radii) else 0.0
    for i, di in enumerate(span):
        for j, dj in enumerate(span):
            plane = squares[0, i] + squares[1, j]
            for k, dk in enumerate(span):
                # Nodes farther than any bead of this size reaches would only be written as "outside".
                if di * di + dj * dj + dk * dk > (largest + 1.6) ** 2:
                    continue
                value = 128.0 + 64.0 * (radii - np.sqrt(plane + squares[2, k]))
                hit = value > 24.0
                index = base[hit] + int((di * shape[1] + dj) * shape[2] + dk)
                np.maximum.at(flat, index, np.minimum(value[hit], 255.0).astype(np.uint8))
