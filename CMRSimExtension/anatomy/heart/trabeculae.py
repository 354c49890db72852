"""Muscle inside the cavities: papillary muscles, trabeculae and the moderator band."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from CMRSimExtension.anatomy.heart.levels import LevelTable
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.right_ventricle import RightOutline, outline_radius
from CMRSimExtension.anatomy.heart.ventricle import LeftVentricle, Shells
from CMRSimExtension.anatomy.noise import look_up, periodic_field

_SCALES = ((0.72, 0.8, 1.2), (0.5, 1.2, 2.3), (0.48, 1.5, 4.7))
"""Weight, cell across in mm and correlation length in cells of the random fields that strands are made of: fine ones,
the coarse bundles they gather in, and the stretches of wall that have many or few."""
_ALONG_MM = 3.0
"""Cell along the long axis: strands run along it."""


def is_strand(
    rest_x: NDArray,
    rest_y: NDArray,
    level: NDArray,
    share: NDArray | float,
    seed: int,
    coarseness: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> NDArray[np.bool_]:
    """Whether points of a trabeculated layer, at material coordinates (mm), are muscle; `share` of them are.

    `coarseness` has factors on the strands' size along x, y and the long axis: the RV's are coarser than the LV's and
    cross its chamber.
    """
    drift = float(seed // 8 % 64)
    total = np.zeros(len(rest_x), dtype=np.float32)
    z = level / (_ALONG_MM * coarseness[2])
    for number, (weight, across, correlation) in enumerate(_SCALES):
        field = periodic_field((seed + 3 * number) % 8, correlation)
        x, y = rest_x / (across * coarseness[0]), rest_y / (across * coarseness[1])
        total += np.float32(weight) * look_up(field, x + drift, y, z)
    # The weights' squares add up to one, so the sum is standard normal.
    return ndtr(total) < share


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
        Per level: distance of each head's axis from the LV's, then each head's radius, in mm (0 where there is none).
    """

    angles: NDArray
    axes: LevelTable

    @staticmethod
    def place(p: HeartParameters, lv: LeftVentricle, now: Shells, stretch: float) -> "Papillaries":
        """Lay the heads along the cavity's border at one ejection; their cross-section grows as they shorten."""
        levels = lv.levels_mm / lv.endo_length_mm
        angles, offsets, radii = [], [], []
        for angle_deg, (start, end), radius, heads in zip(
            p.papillary_angles_deg, p.papillary_levels, p.papillary_radius_mm, p.papillary_heads, strict=True
        ):
            for head in range(heads):
                spread = (head - 0.5 * (heads - 1)) * 24.0
                angle = np.deg2rad(angle_deg + spread)
                column = int(np.rint(angle / (2 * np.pi) * len(lv.angles))) % len(lv.angles)
                along = np.clip((levels - start) / (end - start), 0.0, 1.0)
                size = radius / np.sqrt(heads) / np.sqrt(stretch)
                size = size * np.clip(np.sin(np.pi * along) * 1.8, 0.0, 1.0) ** 0.5
                size = np.where((levels > start) & (levels < end), size, 0.0)
                border = np.sqrt(now.cavity[:, column])
                # Free at the base end, where chordae begin, and more and more part of the wall towards the apex.
                offsets.append(np.maximum(border - size * (0.95 - 0.95 * along), 0.0))
                radii.append(np.minimum(size, 0.8 * border))
                angles.append(angle)
        table = LevelTable(0.0, float(lv.levels_mm[1]), np.stack(offsets + radii, axis=1).astype(np.float32))
        return Papillaries(np.array(angles), table)

    def contain(self, radius: NDArray, theta: NDArray, level: NDArray, seed: int) -> NDArray[np.bool_]:
        """Whether points (distance from the LV axis, material angle, material level) lie in a head."""
        inside = np.zeros(len(radius), dtype=bool)
        rows = self.axes(level)
        # Muscles are bundles, not rods: their outline is uneven over about 4 mm.
        field = periodic_field(seed % 8, 1.6)
        x, y = radius * np.cos(theta), radius * np.sin(theta)
        uneven = 1.0 + 0.4 * look_up(field, x / 1.3 + 17.0, y / 1.3, level / 2.5)
        heads = len(self.angles)
        for head, angle in enumerate(self.angles):
            centre, size = rows[:, head], rows[:, heads + head]
            squared = radius**2 + centre**2 - 2.0 * radius * centre * np.cos(theta - angle)
            inside |= squared < (size * uneven) ** 2
        return inside


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
