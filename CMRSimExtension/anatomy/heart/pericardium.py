"""The pericardial sac: a smooth hull around the bodies of the heart, filled with epicardial fat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter1d

from CMRSimExtension.anatomy.heart.coronaries import in_vessel
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.state import HeartState, Points
from CMRSimExtension.anatomy.structures import Structure

if TYPE_CHECKING:
    from CMRSimExtension.anatomy.heart.heart import Heart

CENTRE_MM = (-18.0, 3.0)
"""x, y of the line from which the sac is star-shaped, between the ventricles."""
PERICARDIUM_MM = 0.6
"""Mean thickness of the pericardium; it differs from place to place by two thirds of that."""
_FLUID_ANGLE_RAD = np.deg2rad(300.0)
"""Around the sac, where most fluid pools in a patient who lies on the back: beside the inferolateral wall."""
FOLLOW_MM = 9.0
"""Over this distance beyond the sac at end diastole the surroundings follow the heart as it shrinks."""
_THICKEST_FAT_MM = 15.0
_BULGE_MM = 0.7
"""By how much a sac's dome may bulge beyond a straight line between two rows of its table."""
_ANGLES = 64
_TURNS = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
_STEP_MM = 4.0
_RADII_MM = np.arange(4.0, 112.0, 3.0)


@dataclass(frozen=True)
class Bearing:
    """Where points lie around the sac's centre line, whatever their level: radius in mm, and place in the angles."""

    radius_mm: NDArray
    column: NDArray[np.int32]
    share: NDArray

    @classmethod
    def of(cls, x: NDArray, y: NDArray) -> "Bearing":
        """Of points in heart coordinates, mm."""
        dx, dy = x - CENTRE_MM[0], y - CENTRE_MM[1]
        turn = np.arctan2(dy, dx) * (_ANGLES / (2 * np.pi))
        turn = np.where(turn < 0, turn + _ANGLES, turn)
        column = np.minimum(turn.astype(np.int32), _ANGLES - 1)
        return cls(np.hypot(dx, dy), column, turn - column)


@dataclass(frozen=True)
class SacTable:
    """Radius of the sac around `CENTRE_MM`, or the thickness of what lines it, over material level and angle.

    The last angle repeats the first. Beyond the first and the last level their values go on; those of a sac are 0.
    """

    start_mm: float
    radii_mm: NDArray[np.float32]

    @classmethod
    def closed(cls, start_mm: float, values: NDArray) -> "SacTable":
        """A table of values (levels, angles)."""
        return cls(start_mm, np.concatenate([values, values[:, :1]], axis=1).astype(np.float32))

    @classmethod
    def around(cls, sacs: Sequence["SacTable"], levels_at: Callable[[NDArray], Sequence[NDArray]]) -> "SacTable":
        """A table that encloses, by a little more, whichever of the sacs passes by: its level is the z of fixed points.

        Parameters
        ----------
        sacs
            Tables on the same levels and angles.
        levels_at
            The material levels that pass by places z (mm), moment by moment.
        """
        start, stop = sacs[0].levels_mm
        places = np.arange(start - _STEP_MM, stop + 1.5 * _STEP_MM, _STEP_MM)
        widest = np.max([sac.radii_mm for sac in sacs], axis=0)
        radii = np.zeros((len(places), widest.shape[1]), dtype=np.float32)
        for level in levels_at(places):
            row = np.clip((level - start) / _STEP_MM, 0.0, len(widest) - 1.001)
            first, share = row.astype(int), (row % 1.0)[:, None]
            radii = np.maximum(radii, widest[first] + share * (widest[first + 1] - widest[first]))
        # Levels that pass between two rows meet a dome that bulges out of the straight line.
        return cls(float(places[0]), (radii + _BULGE_MM).astype(np.float32))

    @property
    def largest_mm(self) -> float:
        return float(self.radii_mm.max())

    @property
    def levels_mm(self) -> tuple[float, float]:
        """First and last level of the table."""
        return self.start_mm, self.start_mm + _STEP_MM * (len(self.radii_mm) - 1)

    def edge(self, bearing: Bearing, level: NDArray) -> NDArray:
        """The table's values (mm) in the direction of points, linear between its rows and angles."""
        place = np.clip((level - self.start_mm) / _STEP_MM, 0.0, len(self.radii_mm) - 1.001)
        row = place.astype(np.int32)
        u, v = place - row, bearing.share
        flat, width = self.radii_mm.reshape(-1), self.radii_mm.shape[1]
        first = row * width + bearing.column
        low = flat.take(first) * (1 - v) + flat.take(first + 1) * v
        high = flat.take(first + width) * (1 - v) + flat.take(first + width + 1) * v
        return low + u * (high - low)


@dataclass(frozen=True)
class Lining:
    """Thickness of the pericardium and of the fluid within it, from place to place; either may be 0.

    `seed` is that of the vessels in the fat.
    """

    pericardium: SacTable
    fluid: SacTable
    seed: int

    @classmethod
    def draw(cls, heart: "Heart", p: HeartParameters) -> "Lining":
        """Uneven pericardium of `PERICARDIUM_MM` on average; fluid pools and averages `pericardial_fluid_mm`."""
        levels = _levels(heart)
        rng = np.random.default_rng([p.seed, 1])
        thickness, here = _smooth_noise(rng, len(levels)), _smooth_noise(rng, len(levels))
        pericardium = np.clip(PERICARDIUM_MM * (1.0 + 0.67 * thickness), 0.0, None)
        pool = np.clip(here + np.cos(_TURNS - _FLUID_ANGLE_RAD) - 0.3, 0.0, None)
        fluid = p.pericardial_fluid_mm * pool / max(float(pool.mean()), 1e-9)
        start = float(levels[0])
        return cls(SacTable.closed(start, pericardium), SacTable.closed(start, fluid), p.seed)


def _levels(heart: "Heart") -> NDArray:
    """Material levels of the sac's rows, mm."""
    return np.arange(-heart.fade_mm, heart.lv.apex_mm + 14.0, _STEP_MM)


def _smooth_noise(rng: np.random.Generator, levels: int) -> NDArray:
    """(levels, angles) noise of SD 1, smooth over a centimetre and more."""
    field = gaussian_filter(rng.standard_normal((levels, _ANGLES)), (2.5, 3.5), mode=("nearest", "wrap"))
    return np.asarray(field / max(float(field.std()), 1e-9))


def enclose(heart: "Heart", state: HeartState, p: HeartParameters, lining: Lining) -> SacTable:
    """Sac around all bodies of `heart` at `state`: their convex hull per level, softened, plus fat and lining."""
    levels = _levels(heart)
    level, angle, radius = (
        g.reshape(-1).astype(np.float32) for g in np.meshgrid(levels, _TURNS, _RADII_MM, indexing="ij")
    )
    x, y = CENTRE_MM[0] + radius * np.cos(angle), CENTRE_MM[1] + radius * np.sin(angle)
    solid = heart.classify(x, y, level, state).structure != 0
    reach = np.where(solid.reshape(len(levels), _ANGLES, -1), _RADII_MM, 0.0).max(axis=2)
    occupied = reach.max(axis=1) > 0
    # Support function of the hull, then the hull's radius as the nearest of its tangents.
    between = np.cos(_TURNS[:, None] - _TURNS[None, :])
    support = np.max(reach[:, None, :] * between[None], axis=2)
    tangents = np.where(between > 0.05, support[:, None, :] / np.maximum(between, 0.05)[None], np.inf)
    hull = np.min(tangents, axis=2)
    sac = 0.3 * reach + 0.7 * hull
    sac = maximum_filter1d(sac, 3, axis=0, mode="nearest")
    # Fat comes in pads: over half of the free walls there is next to none, elsewhere several millimetres.
    pads = np.clip(_smooth_noise(np.random.default_rng(p.seed), len(levels)), 0.0, None) ** 1.3
    # It is thickest in the atrioventricular groove.
    groove = np.exp(-0.5 * ((levels[:, None] + 2.0) / 10.0) ** 2)
    fat = np.minimum(p.fat_mm * (0.05 + 0.7 * groove + 2.0 * pads), _THICKEST_FAT_MM)
    sac = gaussian_filter(sac, (1.0, 1.5), mode=("nearest", "wrap")) + fat
    sac += lining.pericardium.radii_mm[:, :-1] + lining.fluid.radii_mm[:, :-1]
    last = int(np.flatnonzero(occupied)[-1])
    sac[last + 2 :] = 0.0
    sac[-1] = 0.0
    # Both ends close like domes.
    sac[last : last + 2] *= np.array([[0.9], [0.5]])[: len(sac) - last]
    sac[:4] *= np.array([[0.0], [0.6], [0.82], [0.95]])
    return SacTable.closed(float(levels[0]), sac)


def claim_sac(q: Points, sacs: tuple[SacTable, SacTable], lining: Lining, state: HeartState) -> NDArray[np.bool_]:
    """Fat with its vessels, fluid and pericardium around the bodies.

    Returns
    -------
    (n,) mask of the points beyond that are swept (see `HeartSample`).
    """
    index = np.flatnonzero(q.open)
    first, last = sacs
    x, y, level = q.x[index], q.y[index], q.level[index]
    bearing = Bearing.of(x, y)
    radius, rest_edge = bearing.radius_mm, first.edge(bearing, level)
    end_edge = last.edge(bearing, level)
    edge = rest_edge + state.ejection * (end_edge - rest_edge)
    inside = radius < edge
    swept = np.zeros(len(q.x), dtype=bool)
    follows = ~inside & (radius < rest_edge + FOLLOW_MM) & (edge > 0.0) & (edge < rest_edge)
    swept[index[follows]] = True
    outward = _followed(radius[follows], edge[follows], rest_edge[follows]) / radius[follows]
    q.rest_x[index[follows]] = CENTRE_MM[0] + (x[follows] - CENTRE_MM[0]) * outward
    q.rest_y[index[follows]] = CENTRE_MM[1] + (y[follows] - CENTRE_MM[1]) * outward
    index, radius, edge, rest_edge = index[inside], radius[inside], edge[inside], rest_edge[inside]
    structure = np.full(len(index), Structure.EPICARDIAL_FAT, np.uint8)
    within = Bearing(radius, bearing.column[inside], bearing.share[inside])
    pericardium, fluid = (table.edge(within, level[inside]) for table in (lining.pericardium, lining.fluid))
    structure[radius > edge - pericardium - fluid] = Structure.PERICARDIAL_FLUID
    structure[radius > edge - pericardium] = Structure.PERICARDIUM
    scale = rest_edge / np.maximum(edge, 1e-6)
    q.rest_x[index] = CENTRE_MM[0] + (q.x[index] - CENTRE_MM[0]) * scale
    q.rest_y[index] = CENTRE_MM[1] + (q.y[index] - CENTRE_MM[1]) * scale
    fat = np.flatnonzero(structure == Structure.EPICARDIAL_FAT)
    place = index[fat]
    structure[fat[in_vessel(q.rest_x[place], q.rest_y[place], q.level[place], lining.seed)]] = Structure.CORONARY_VESSEL
    q.structure[index] = structure
    return swept


def _followed(radius: NDArray, edge: NDArray, rest_edge: NDArray) -> NDArray:
    """Where tissue now at `radius` outside the sac was at end diastole: it followed less the farther out it is."""
    return rest_edge + (radius - edge) * (FOLLOW_MM / (FOLLOW_MM + rest_edge - edge))
