"""The beating heart: which body claims a point, and where its tissue was at end diastole."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.basal_side import claim_atria, claim_great_vessels
from CMRSimExtension.anatomy.heart.base import Base
from CMRSimExtension.anatomy.heart.left_side import claim_epicardial_rim, claim_left_ventricle
from CMRSimExtension.anatomy.heart.levels import FADE_MM, LongAxis
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.pericardium import CENTRE_MM, Bearing, Lining, SacTable, claim_sac, enclose
from CMRSimExtension.anatomy.heart.right_side import claim_right_ventricle
from CMRSimExtension.anatomy.heart.right_ventricle import PULMONARY_VALVE_MM, TOP_MM, RightVentricle
from CMRSimExtension.anatomy.heart.state import HeartState, Points
from CMRSimExtension.anatomy.heart.timing import CardiacTiming
from CMRSimExtension.anatomy.heart.trabeculae import Papillaries, moderator_band
from CMRSimExtension.anatomy.heart.ventricle import LeftVentricle

SLICE_REACH_MM = 10.0
"""Room left around the sac, so that a voxel of a thick slice is judged by its centre alone."""
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the way from end diastole to end systole at which it is looked who may pass by a fixed point."""
REACH_MM = 130.0
"""No body of the heart reaches farther than this from its centre."""


@dataclass
class HeartSample:
    """Result of sampling n points: `claimed` says where the heart has an answer; the rest is meaningless elsewhere.

    `swept` are unclaimed points that the heart fills at end diastole: what surrounds the heart has followed it there,
    and `rest` says from where.
    """

    claimed: NDArray[np.bool_]
    swept: NDArray[np.bool_]
    structure: NDArray[np.uint8]
    clinical: NDArray[np.uint8]
    rest: NDArray


class Heart:
    """One parametric heart in heart coordinates (see `HeartFrame`)."""

    def __init__(self, parameters: HeartParameters) -> None:
        self.parameters = p = parameters
        self.timing = CardiacTiming(p.systole_fraction, p.filling_fraction)
        self.lv = LeftVentricle(p)
        levels = np.arange(-24.0, self.lv.apex_mm + 6.0, 3.0)
        self.rv = RightVentricle(p, self.lv, self.lv.centre_mm(levels))
        outflow = self.rv.outline(0.0).rest(np.array([PULMONARY_VALVE_MM]))[0]
        basal = float(np.sqrt(np.mean(self.lv.rest_endo[0])))
        self.base = Base.build(
            p, basal, (float(outflow[4]), float(outflow[5]), float(outflow[6])), self._tricuspid_annulus()
        )
        self._sacs: tuple[SacTable, SacTable] | None = None
        rest, systole = self.state(0.0), self.state(self.timing.end_systole)
        self._lining = lining = Lining.draw(self, p)
        self._sacs = (enclose(self, rest, p, lining), enclose(self, systole, p, lining))
        self._swept = SacTable.around(self._sacs, self._passing)

    def _tricuspid_annulus(self) -> tuple[float, float, float]:
        """Centre x, y and radius (mm) of a circle that fills the RV's inlet beside the LV."""
        cx, cy, a, b = (float(v) for v in self.rv.outline(0.0).rest(np.array([TOP_MM]))[0][:4])
        septum = float(np.sqrt(np.mean(self.lv.rest_epi[0])))
        turn = self.rv.turn_rad
        free = np.hypot(cx, cy) + a
        radius = min(0.5 * (free - septum), 0.72 * b)
        along = free - radius
        # The inlet takes the inferior part of the RV; the outflow tract leaves from the anterior part.
        return -along * np.cos(turn), -along * np.sin(turn) - 0.15 * b, 0.93 * radius

    def state(self, phase: float, dtype: type = np.float32) -> HeartState:
        """The heart at cardiac `phase` in [0, 1); float64 tables where exactness matters more than speed."""
        ejection = self.timing.ejection(phase)
        now = self.lv.shells(ejection)
        stacked: NDArray = np.stack(
            [now.cavity, now.endo, now.epi, now.contour, now.rest_cavity, now.rest_endo], axis=-1
        ).astype(dtype)
        stacked = np.concatenate([stacked, stacked[:, :1]], axis=1)
        axis = self._axis(ejection)
        right = self.rv.outline(ejection, dtype)
        return HeartState(
            phase,
            ejection,
            self.timing.twist(phase),
            axis,
            stacked,
            right,
            Papillaries.place(self.parameters, self.lv, now, axis.stretch),
            moderator_band(self.parameters, self.lv, now, right, self.rv.turn_rad, self.rv.axis_rad),
            self.lv.muscle_share(ejection),
            1.0 + 0.10 * ejection,
        )

    @property
    def fade_mm(self) -> float:
        """Height above the annulus plane up to which the heart moves."""
        return FADE_MM * self.parameters.base_scale

    def _axis(self, ejection: float) -> LongAxis:
        return LongAxis(self.lv.apex_mm, self.lv.stretch(ejection), self.fade_mm)

    def sample(self, local_mm: NDArray, state: HeartState) -> HeartSample:
        """Classify points given in present heart coordinates (n, 3), mm.

        Returns rest positions in heart coordinates too.
        """
        n = len(local_mm)
        claimed = np.zeros(n, dtype=bool)
        swept = np.zeros(n, dtype=bool)
        structure = np.zeros(n, dtype=np.uint8)
        clinical = np.zeros(n, dtype=np.uint8)
        moved = local_mm.copy()
        near = np.flatnonzero(self._near(local_mm))
        if near.size:
            subset = local_mm[near]
            level = state.axis.inverse(subset[:, 2])
            bodies = self.classify(subset[:, 0], subset[:, 1], level, state)
            assert self._sacs is not None
            swept[near] = claim_sac(bodies, self._sacs, self._lining, state)
            claimed[near] = bodies.structure != 0
            structure[near] = bodies.structure
            clinical[near] = bodies.clinical
            known = claimed[near] | swept[near]
            moved[near[known]] = np.stack([bodies.rest_x, bodies.rest_y, level], axis=1)[known]
        return HeartSample(claimed, swept, structure, clinical, moved)

    def _near(self, local_mm: NDArray) -> NDArray[np.bool_]:
        """Points that a body of the heart may claim."""
        z = local_mm[:, 2]
        radial = (local_mm[:, 0] - CENTRE_MM[0]) ** 2 + (local_mm[:, 1] - CENTRE_MM[1]) ** 2
        return (z > -76.0) & (z < self.lv.apex_mm + 22.0) & (radial < self._reach_squared)

    @property
    def _reach_squared(self) -> float:
        if self._sacs is None:
            return REACH_MM**2
        return float(self._sacs[0].largest_mm + 12.0) ** 2

    def may_move(self, local_mm: NDArray) -> NDArray[np.bool_]:
        """Points whose material may change over the cycle, or that of points within `SLICE_REACH_MM` of them."""
        inside = self._near(local_mm) & (local_mm[:, 2] > -self.fade_mm)
        picked = np.flatnonzero(inside)
        subset = local_mm[picked]
        bearing = Bearing.of(subset[:, 0], subset[:, 1])
        reach = self._swept.edge(bearing, subset[:, 2]) - bearing.radius_mm
        # Only what the sac does not reach is left to the great vessels.
        outside = np.flatnonzero(reach <= -SLICE_REACH_MM)
        rest = subset[outside]
        for level in self._passing(rest[:, 2]):
            for tube in (self.base.aorta, self.base.pulmonary_trunk):
                beside = np.flatnonzero((level >= tube.levels_mm[0]) & (level <= tube.levels_mm[-1]))
                distance, lumen = tube.distance(rest[beside, 0], rest[beside, 1], level[beside])
                places = outside[beside]
                reach[places] = np.maximum(reach[places], lumen + tube.wall_mm - distance)
        inside[picked] = reach > -SLICE_REACH_MM
        return inside

    def _passing(self, z_mm: NDArray) -> list[NDArray]:
        """Material levels that fixed places z see pass by, from end diastole to end systole."""
        systole = self._axis(1.0).inverse(z_mm)
        return [(1.0 - share) * z_mm + share * systole for share in _SHARES]

    @property
    def widest_mm(self) -> float:
        """Largest distance of the pericardial sac from its own centre line at end diastole."""
        assert self._sacs is not None
        return self._sacs[0].largest_mm

    def encloses(self, local_mm: NDArray) -> NDArray[np.bool_]:
        """Points (n, 3) in heart coordinates that lie in the pericardial sac at end diastole."""
        assert self._sacs is not None
        bearing = Bearing.of(local_mm[:, 0], local_mm[:, 1])
        radius, edge = bearing.radius_mm, self._sacs[0].edge(bearing, local_mm[:, 2])
        levels = self._sacs[0].levels_mm
        return (radius < edge) & (local_mm[:, 2] > levels[0]) & (local_mm[:, 2] < levels[1])

    def classify(self, x: NDArray, y: NDArray, level: NDArray, state: HeartState) -> Points:
        """Bodies at present x, y and material level, without the fat and the pericardium around them."""
        n = len(x)
        points = Points(x, y, level, np.zeros(n, np.uint8), np.zeros(n, np.uint8), x.copy(), y.copy())
        claim_left_ventricle(points, state, self.lv, self.base, self.timing)
        claim_great_vessels(points, self.base)
        claim_right_ventricle(points, state, self.rv, self.timing)
        claim_epicardial_rim(points, state, self.lv)
        claim_atria(points, self.base, state)
        return points
