"""Muscle inside the cavities: papillary muscles, trabeculae and the moderator band."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from CMRSimExtension.anatomy.heart.levels import LevelTable
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.right_ventricle import RightOutline, outline_radius
from CMRSimExtension.anatomy.heart.ventricle import LeftVentricle, Shells
from CMRSimExtension.anatomy.noise import look_up, periodic_field

_NETWORK_MM, _NETWORK_ALONG_MM, _NETWORK_CELLS = 2.2, 5.0, 2.2
"""Cell across and along the long axis, and correlation length in cells, of the field whose zeros are the RV's bands:
they lie about two centimetres from each other."""
_RICH_MM, _RICH_CELLS = 1.5, 4.7
"""Cell and correlation length of the stretches of wall that have wide bands or narrow ones."""
_BUNDLES = ((0.4, 0.8, 1.2), (0.65, 1.1, 2.3), (0.65, 1.2, 4.7))
"""Weight, cell across in mm and correlation length in cells of the random fields that a ventricle's lining is made of:
fine bundles, coarse ones, and the stretches of wall that have many or few."""
_ALONG_MM = 3.0
"""Cell along the long axis: strands run along it."""
_FINE_MM, _FINE_TURNS = 2.1, 1.3
"""Period along the long axis of what is finer than voxels, and by how many periods it is shifted from place to place:
slices show its share alone, in any plane."""
_DENSEST = 0.85
"""Share of muscle in the LV's lining where it meets the compact wall."""
_NORMAL = ndtri((np.arange(512) + 0.5) / 512).astype(np.float32)
_FRAYED_MM = 1.2
"""SD of the fine unevenness of a papillary muscle's surface: seen through a slice its edge is soft."""


def is_band(rest_x: NDArray, rest_y: NDArray, level: NDArray, share: NDArray, seed: int) -> NDArray[np.bool_]:
    """Whether points of the RV, at material coordinates (mm), lie in a band of muscle; about `share` of them do.

    Bands lie where a smooth random field vanishes: so they branch, and run on until they join the wall.
    """
    drift = float(seed // 8 % 64)
    field = periodic_field(seed % 8, _NETWORK_CELLS)
    off = look_up(field, rest_x / _NETWORK_MM + drift, rest_y / _NETWORK_MM, level / _NETWORK_ALONG_MM)
    wide = periodic_field((seed + 3) % 8, _RICH_CELLS)
    rich = ndtr(look_up(wide, rest_x / _RICH_MM + drift, rest_y / _RICH_MM, level / _ALONG_MM))
    return 2.0 * ndtr(np.abs(off)) - 1.0 < 2.0 * rich * share


def finer_than_voxels(level: NDArray, shift: NDArray) -> NDArray[np.float32]:
    """Standard normal numbers (n,) that take all their values within a slice's voxel.

    Parameters
    ----------
    level
        Material level, mm.
    shift
        Standard normal numbers that vary over several millimetres.
    """
    turn = level * (1.0 / _FINE_MM) + shift * _FINE_TURNS
    return _NORMAL.take(((turn - np.floor(turn)) * len(_NORMAL)).astype(np.int32), mode="clip")


def is_lining(
    rest_x: NDArray, rest_y: NDArray, level: NDArray, share: NDArray, seed: int, coarseness: NDArray | float
) -> NDArray[np.bool_]:
    """Whether points of a trabeculated layer, at material coordinates (mm), are muscle; `share` of them are.

    Most strands are finer than a voxel: cines show them as a grey rim. `coarseness` is the share of the variance that
    bundles of many sizes have, which are wide enough to be seen.
    """
    drift, z = float(seed // 8 % 64), level / _ALONG_MM
    seen, fine = np.sqrt(coarseness), np.sqrt(np.subtract(1.0, coarseness))
    total = np.zeros(len(rest_x), dtype=np.float32)
    found = total
    for number, (weight, across, correlation) in enumerate(_BUNDLES):
        field = periodic_field((seed + 3 * number) % 8, correlation)
        found = look_up(field, rest_x / across + drift, rest_y / across, z)
        total += (weight * found * seen).astype(np.float32)
    total += (fine * finer_than_voxels(level, found)).astype(np.float32)
    return ndtr(total) < share


def lining_share(depth: NDArray, mean: float) -> NDArray:
    """Share of muscle within the LV's lining, from 0 at the open cavity to nearly 1 at the compact wall.

    Parameters
    ----------
    depth
        As of `strand_share`.
    mean
        Share of muscle over the whole layer, in (0, 0.85): pressed together the layer ends in a thinner rim.
    """
    return _DENSEST * (1.0 - np.clip(1.0 - depth, 0.0, 1.0) ** (mean / (_DENSEST - mean)))


def strand_share(depth: NDArray, mean: NDArray | float) -> NDArray:
    """Share of muscle within a trabeculated layer: dense at the wall, sparse towards the cavity.

    Parameters
    ----------
    depth
        Place in the layer by area, 0 at the cavity and 1 at the compact wall.
    mean
        Share of muscle over the whole layer; a layer pressed together is dense throughout.
    """
    slope = np.minimum(0.85, (1.0 - mean) / mean)
    return mean * (1.0 + slope * (2.0 * depth - 1.0))


@dataclass(frozen=True)
class Papillaries:
    """Papillary heads at one ejection.

    Attributes
    ----------
    angles
        (heads,) material angle.
    axes
        Per level: distance of each head's axis from the LV's, then each head's radius (0 where there is none), then
        half the width of the root that joins it to the wall (0 where it is free); in mm.
    """

    angles: NDArray
    axes: LevelTable

    @staticmethod
    def place(p: HeartParameters, lv: LeftVentricle, now: Shells, stretch: float) -> "Papillaries":
        """Lay the heads along the cavity's border at one ejection.

        Their cross-section grows as they shorten, and they are pressed into the wall where the cavity has shrunk.
        """
        levels = lv.levels_mm / lv.endo_length_mm
        rng = np.random.default_rng(p.seed + 512)
        angles, offsets, radii, roots = [], [], [], []
        for angle_deg, (start, end), radius, heads in zip(
            p.papillary_angles_deg, p.papillary_levels, p.papillary_radius_mm, p.papillary_heads, strict=True
        ):
            # No two heads are alike: in size, in where they begin, and in how near the wall they lie.
            parts = rng.uniform(0.6, 1.4, heads)
            parts = np.sqrt(parts / parts.sum())
            starts = start + rng.uniform(0.0, 0.08, heads) * (heads > 1)
            depths = rng.uniform(0.75, 1.15, heads)
            apart_deg = float(rng.uniform(17.0, 26.0))
            for head in range(heads):
                angle = np.deg2rad(angle_deg + (head - 0.5 * (heads - 1)) * apart_deg)
                column = int(np.rint(angle / (2 * np.pi) * len(lv.angles))) % len(lv.angles)
                first = starts[head]
                along = np.clip((levels - first) / (end - first), 0.0, 1.0)
                size = radius * parts[head] / np.sqrt(stretch)
                size = size * np.clip(np.sin(np.pi * along**0.85) * 1.4, 0.0, 1.0) ** 0.7
                size = np.where((levels > first) & (levels < end), size, 0.0)
                border = np.sqrt(now.cavity[:, column])
                crowded = np.clip(2.0 - 2.0 * border / np.sqrt(np.maximum(now.rest_cavity[:, column], 1e-9)), 0.0, 1.0)
                # Free at the base end, where chordae begin, and more and more part of the wall towards the apex.
                free = 0.95 * depths[head] * (1.0 - along) * (1.0 - 0.5 * crowded)
                offsets.append(np.maximum(border - size * free, 0.0))
                radii.append(np.minimum(size, 0.8 * border))
                roots.append(size * np.clip(1.6 * along - 0.45 + 0.8 * crowded, 0.0, 1.0))
                angles.append(angle)
        columns = np.stack(offsets + radii + roots, axis=1).astype(np.float32)
        return Papillaries(np.array(angles), LevelTable(0.0, float(lv.levels_mm[1]), columns))

    def contain(self, radius: NDArray, theta: NDArray, level: NDArray, seed: int) -> NDArray[np.bool_]:
        """Whether points (distance from the LV axis, material angle, material level) lie in a head or its root."""
        inside = np.zeros(len(radius), dtype=bool)
        rows = self.axes(level)
        heads = len(self.angles)
        x, y = radius * np.cos(theta), radius * np.sin(theta)
        close = np.flatnonzero(self._near(x, y, rows))
        rows, x, y, level = rows[close], x[close], y[close], level[close]
        # Muscles are bundles, not rods: their outline is uneven over about 4 mm, and frays into finer ones.
        bulges = look_up(periodic_field(seed % 8, 1.6), x / 1.3 + 17.0, y / 1.3, level / 2.5)
        uneven = 1.0 + 0.4 * bulges
        frayed = _FRAYED_MM * finer_than_voxels(level, bulges)
        found = np.zeros(len(close), dtype=bool)
        for head, angle in enumerate(self.angles):
            centre, size, root = (rows[:, head + heads * part] for part in range(3))
            outward = x * np.cos(angle) + y * np.sin(angle) - centre
            across = y * np.cos(angle) - x * np.sin(angle)
            reach = np.sqrt(np.where(outward > 0, 0.0, outward * outward) + across * across)
            rooted = (outward > 0) & (reach < root * uneven + frayed) & (root > 0)
            whole = np.sqrt(outward * outward + across * across)
            found |= (rooted | (whole < size * uneven + frayed)) & (size > 0)
        inside[close] = found
        return inside

    def _near(self, x: NDArray, y: NDArray, rows: NDArray) -> NDArray[np.bool_]:
        """Points that a head or its root may reach."""
        heads = len(self.angles)
        near = np.zeros(len(x), dtype=bool)
        for head, angle in enumerate(self.angles):
            centre, size = rows[:, head], rows[:, heads + head]
            outward = x * np.cos(angle) + y * np.sin(angle) - centre
            across = np.abs(y * np.cos(angle) - x * np.sin(angle))
            limit = 2.5 * size + 3.0 * _FRAYED_MM
            near |= (size > 0) & (across < limit) & (outward > -limit)
        return near


def moderator_band(
    p: HeartParameters, lv: LeftVentricle, now: Shells, right: RightOutline, turn_rad: float, axis_rad: float
) -> NDArray[np.float64]:
    """End points (2, 3) of the moderator band: on the septum and on the RV free wall, near the apical third."""
    levels = np.array([0.52, 0.66]) * p.rv_apex_level * lv.apex_mm
    row = int(np.clip(np.rint(levels[0] / lv.levels_mm[1]), 0, len(lv.levels_mm) - 1))
    column = len(lv.angles) // 2
    septum = np.array([-np.sqrt(now.epi[row, column]), 0.0, levels[0]])
    centre = right.now(levels[1:])[0].astype(float)
    direction = np.pi + turn_rad + 0.35
    dx, dy = np.cos(direction), np.sin(direction)
    edge = outline_radius(np.array([dx]), np.array([dy]), centre[2:3], centre[3:4], p.rv_triangularity, axis_rad)[1][0]
    free_wall = np.array([centre[0] + edge * dx, centre[1] + edge * dy, levels[1]])
    return np.stack([septum, free_wall])
