"""The beating heart: which body claims a point, and where its tissue was at end diastole."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.base import Base
from CMRSimExtension.anatomy.heart.levels import FADE_MM, LevelTable, LongAxis
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.pericardium import CENTRE_MM, SacTable, enclose
from CMRSimExtension.anatomy.heart.right_ventricle import (
    OUTFLOW_END_MM,
    PULMONARY_VALVE_MM,
    TOP_MM,
    RightOutline,
    RightVentricle,
    merged_depth,
    outline_radius,
)
from CMRSimExtension.anatomy.heart.timing import CardiacTiming
from CMRSimExtension.anatomy.heart.trabeculae import Papillaries, is_strand, moderator_band, strand_share
from CMRSimExtension.anatomy.heart.valves import mitral_leaflets, mitral_opening, semilunar_cusps
from CMRSimExtension.anatomy.heart.ventricle import ANGLES, LeftVentricle
from CMRSimExtension.anatomy.structures import Structure

_CAVITY, _ENDO, _EPI, _CONTOUR, _REST_CAVITY, _REST_ENDO = range(6)
SLICE_REACH_MM = 10.0
"""Room left around the sac, so that a voxel of a thick slice is judged by its centre alone."""
FOLLOW_MM = 9.0
"""Over this distance beyond the sac at end diastole the surroundings follow the heart as it shrinks."""
REACH_MM = 130.0
"""No body of the heart reaches farther than this from its centre."""


@dataclass(frozen=True)
class HeartState:
    """Everything about one cardiac phase that sampling needs; made once per phase.

    Attributes
    ----------
    phase, ejection, twist
        Cardiac phase, emptied share of the stroke volume, share of full torsion.
    axis
        Long-axis map.
    shells
        (levels, angles + 1, 6) squared radii, the last angle repeating the first.
    right
        Outline of the RV.
    papillaries
        Axes of the papillary muscles.
    band
        End points (2, 3) of the moderator band, present heart coordinates in material levels.
    muscle_share
        Share of muscle in the LV's trabeculated layer.
    atrial_growth
        Factor on the atria's width.
    """

    phase: float
    ejection: float
    twist: float
    axis: LongAxis
    shells: NDArray
    right: RightOutline
    papillaries: Papillaries
    band: NDArray
    muscle_share: float
    atrial_growth: float


@dataclass
class HeartSample:
    """Result of sampling n points: `claimed` says where the heart has an answer; the rest is meaningless elsewhere.

    `swept` are unclaimed points that the heart fills at end diastole: what surrounds the heart has followed it there, and
    `rest` says from where.
    """

    claimed: NDArray[np.bool_]
    swept: NDArray[np.bool_]
    structure: NDArray[np.uint8]
    clinical: NDArray[np.uint8]
    rest: NDArray


@dataclass
class _Points:
    """Points under classification, present x, y in mm and material level, with the answers collected so far."""

    x: NDArray
    y: NDArray
    level: NDArray
    structure: NDArray[np.uint8]
    clinical: NDArray[np.uint8]
    rest_x: NDArray
    rest_y: NDArray
    open: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.open = np.ones(len(self.x), dtype=bool)


class Heart:
    """One parametric heart in heart coordinates (see `HeartFrame`)."""

    def __init__(self, parameters: HeartParameters) -> None:
        self.parameters = p = parameters
        self.timing = CardiacTiming(p.systole_fraction, p.filling_fraction)
        self.lv = LeftVentricle(p)
        levels = np.arange(-24.0, self.lv.apex_mm + 6.0, 3.0)
        self.rv = RightVentricle(p, self.lv, self._bend(levels))
        outflow = self.rv.outline(0.0).rest(np.array([PULMONARY_VALVE_MM]))[0]
        basal = float(np.sqrt(np.mean(self.lv.rest_endo[0])))
        self.base = Base.build(
            p, basal, (float(outflow[4]), float(outflow[5]), float(outflow[6])), self._tricuspid_annulus()
        )
        self._sacs: tuple[SacTable, SacTable] | None = None
        rest, systole = self.state(0.0), self.state(self.timing.end_systole)
        self._sacs = (enclose(self, rest, p), enclose(self, systole, p))

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

    def _bend(self, level: NDArray) -> NDArray:
        """(n, 2) centre of the LV at material levels."""
        share = np.clip(level / self.lv.apex_mm, 0.0, 1.0) ** 2
        return share[:, None] * np.asarray(self.parameters.bend_mm)

    def state(self, phase: float, dtype: type = np.float32) -> HeartState:
        """The heart at cardiac `phase` in [0, 1); float64 tables where exactness matters more than speed."""
        ejection = self.timing.ejection(phase)
        now = self.lv.shells(ejection)
        stacked = np.stack(
            [now.cavity, now.endo, now.epi, now.contour, now.rest_cavity, now.rest_endo], axis=-1
        ).astype(dtype)
        stacked = np.concatenate([stacked, stacked[:, :1]], axis=1)
        axis = LongAxis(self.lv.apex_mm, self.lv.stretch(ejection))
        right = self.rv.outline(ejection, dtype)
        return HeartState(
            phase,
            ejection,
            self.timing.twist(phase),
            axis,
            stacked,
            right,
            Papillaries.place(self.parameters, self.lv, now, axis.stretch),
            moderator_band(self.parameters, self.lv, now, right, self.rv.turn_rad),
            self.lv.muscle_share(ejection),
            1.0 + 0.10 * ejection,
        )

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
            swept[near] = self._fill_sac(bodies, state)
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
        assert self._sacs is not None
        inside = self._near(local_mm) & (local_mm[:, 2] > -FADE_MM)
        picked = np.flatnonzero(inside)
        subset = local_mm[picked]
        radius, edge = self._sacs[0].radius(subset[:, 0], subset[:, 1], subset[:, 2])
        later = self._sacs[1].radius(subset[:, 0], subset[:, 1], subset[:, 2])[1]
        inside[picked] = radius < np.maximum(edge, later) + SLICE_REACH_MM
        return inside

    def encloses(self, local_mm: NDArray) -> NDArray[np.bool_]:
        """Points (n, 3) in heart coordinates that lie in the pericardial sac at end diastole."""
        assert self._sacs is not None
        radius, edge = self._sacs[0].radius(local_mm[:, 0], local_mm[:, 1], local_mm[:, 2])
        levels = self._sacs[0].levels_mm
        return (radius < edge) & (local_mm[:, 2] > levels[0]) & (local_mm[:, 2] < levels[1])

    def classify(self, x: NDArray, y: NDArray, level: NDArray, state: HeartState) -> _Points:
        """Bodies at present x, y and material level, without the fat and the pericardium around them."""
        n = len(x)
        points = _Points(x, y, level, np.zeros(n, np.uint8), np.zeros(n, np.uint8), x.copy(), y.copy())
        self._left_ventricle(points, state)
        self._tubes(points)
        self._right_ventricle(points, state)
        self._chambers(points, state)
        return points

    def _left_ventricle(self, q: _Points, state: HeartState) -> None:
        p = self.parameters
        index = np.flatnonzero((q.level >= 0.0) & (q.level <= self.lv.apex_mm))
        if not index.size:
            return
        level = q.level[index]
        bend = self._bend(level).astype(level.dtype)
        dx, dy = q.x[index] - bend[:, 0], q.y[index] - bend[:, 1]
        squared = dx * dx + dy * dy
        largest = state.shells[..., _EPI].max()
        close = squared <= largest
        index, level, dx, dy, squared, bend = index[close], level[close], dx[close], dy[close], squared[close], bend[close]
        twist = self.lv.twist_rad(level, state.twist).astype(level.dtype)
        theta = np.arctan2(dy, dx) - twist
        radii = self._shell_radii(level, theta, state)
        inside = squared <= radii[:, _EPI]
        index, level, squared, radii, theta, bend = (
            index[inside], level[inside], squared[inside], radii[inside], theta[inside], bend[inside]
        )  # fmt: skip
        stretch = state.axis.stretch
        endo, cavity = radii[:, _ENDO], radii[:, _CAVITY]
        in_wall, in_pool = squared >= endo, squared < cavity
        rest_wall = radii[:, _REST_ENDO] + (squared - endo) * stretch
        in_layer = radii[:, _REST_CAVITY] + (squared - cavity) * (
            (radii[:, _REST_ENDO] - radii[:, _REST_CAVITY]) / np.maximum(endo - cavity, 1e-9)
        )
        pool = squared * (radii[:, _REST_CAVITY] / np.maximum(cavity, 1e-9))
        rest_radius = np.sqrt(np.where(in_wall, rest_wall, np.where(in_pool, pool, in_layer)))
        rest_x, rest_y = rest_radius * np.cos(theta), rest_radius * np.sin(theta)

        structure = np.full(len(index), Structure.LV_BLOOD, np.uint8)
        structure[in_wall] = Structure.LV_MYOCARDIUM
        layer = np.flatnonzero(~in_wall & ~in_pool)
        depth = (squared[layer] - cavity[layer]) / np.maximum(endo[layer] - cavity[layer], 1e-9)
        share = strand_share(depth, state.muscle_share)
        strands = is_strand(rest_x[layer], rest_y[layer], level[layer], share, p.seed)
        structure[layer[strands]] = Structure.LV_TRABECULAE
        blood = np.flatnonzero(in_pool)
        muscle = state.papillaries.contain(np.sqrt(squared[blood]), theta[blood], level[blood])
        structure[blood[muscle]] = Structure.LV_PAPILLARY
        clinical = np.where(squared < radii[:, _CONTOUR], 1, 2).astype(np.uint8)

        # Above the notch the wall gives way to the outflow tract.
        notched = np.flatnonzero(in_wall & (level < p.notch_mm))
        cut = notched[level[notched] < self.lv.notch_mm(theta[notched])]
        structure[cut] = Structure.VESSEL_WALL
        clinical[cut] = 0
        radius, lumen = self.base.aorta.distance(q.x[index[cut]], q.y[index[cut]], level[cut])
        structure[cut[radius < lumen]] = Structure.LV_OUTFLOW

        shallow = np.flatnonzero((structure == Structure.LV_BLOOD) & (level < 30.0))
        leaflet = mitral_leaflets(
            q.x[index[shallow]], q.y[index[shallow]], level[shallow], self.base, self.timing, state.phase
        )
        structure[shallow[leaflet]] = Structure.MITRAL_VALVE
        q.structure[index], q.clinical[index] = structure, clinical
        q.rest_x[index], q.rest_y[index] = rest_x + bend[:, 0], rest_y + bend[:, 1]
        q.open[index] = False

    def _shell_radii(self, level: NDArray, theta: NDArray, state: HeartState) -> NDArray:
        """(n, 6) squared radii at material level and angle, bilinear."""
        rows = level * (1.0 / self.lv.levels_mm[1])
        row = np.minimum(rows.astype(np.int32), state.shells.shape[0] - 2)
        turn = theta * (ANGLES / (2 * np.pi))
        turn = turn - np.floor(turn * (1.0 / ANGLES)) * ANGLES
        column = np.minimum(turn.astype(np.int32), ANGLES - 1)
        u = (rows - row)[:, None].astype(state.shells.dtype)
        v = (turn - column)[:, None].astype(state.shells.dtype)
        width = state.shells.shape[1]
        flat = state.shells.reshape(-1, state.shells.shape[2])
        first = row * width + column
        low = flat.take(first, axis=0)
        low += v * (flat.take(first + 1, axis=0) - low)
        high = flat.take(first + width, axis=0)
        high += v * (flat.take(first + width + 1, axis=0) - high)
        low += u * (high - low)
        return low

    def _tubes(self, q: _Points) -> None:
        for tube, valve, valve_structure in (
            (self.base.aorta, self.base.aortic_valve_mm, Structure.AORTIC_VALVE),
            (self.base.pulmonary_trunk, self.base.pulmonary_valve_mm, Structure.PULMONARY_VALVE),
        ):
            index = np.flatnonzero(q.open & (q.level < 0.0) & (q.level >= tube.levels_mm[0]))
            if not index.size:
                continue
            level = q.level[index]
            distance, radius = tube.distance(q.x[index], q.y[index], level)
            within = distance < radius + tube.wall_mm
            index, level, lumen = index[within], level[within], distance[within] < radius[within]
            structure = np.where(lumen, tube.lumen(level), np.uint8(Structure.VESSEL_WALL)).astype(np.uint8)
            cusps = lumen & semilunar_cusps(q.x[index], q.y[index], level, valve)
            structure[cusps] = valve_structure
            q.structure[index] = structure
            q.open[index] = False

    def _right_ventricle(self, q: _Points, state: HeartState) -> None:
        p = self.parameters
        index = np.flatnonzero(
            q.open & (q.level > PULMONARY_VALVE_MM) & (q.level < self.rv.apex_mm + 12.0) & (q.x < 26.0)
        )
        if not index.size:
            return
        x, y, level = q.x[index], q.y[index], q.level[index]
        now = state.right.now(level)
        rho, edge = outline_radius(
            x - now[:, 0], y - now[:, 1], now[:, 2], now[:, 3], p.rv_triangularity, self.rv.turn_rad
        )
        distance = np.hypot(x - now[:, 4], y - now[:, 5])
        depth = merged_depth(rho - edge, distance - now[:, 6], level)
        # The wall thickens as its cavity empties and shortens, at constant volume.
        stretch = state.axis.stretch
        size = np.maximum(np.where(rho - edge < distance - now[:, 6], edge, now[:, 6]), 4.0)
        wall = p.rv_wall_mm * np.clip((self.rv.apex_mm + 6.0 - level) / 14.0, 0.0, 1.0)
        wall = np.sqrt(size * size + wall * (2.0 * size + wall) / np.where(level < 0, 1.0, stretch)) - size
        keep = depth < wall
        index, level, x, y, now, depth = index[keep], level[keep], x[keep], y[keep], now[keep], depth[keep]
        rho, edge, distance = rho[keep], edge[keep], distance[keep]
        blood = depth < 0.0
        of_body = (level > OUTFLOW_END_MM) | ((level >= TOP_MM) & (rho - edge < distance - now[:, 6]))

        rest = state.right.rest(level)
        dx, dy = x - now[:, 0], y - now[:, 1]
        edge_rest = outline_radius(dx, dy, rest[:, 2], rest[:, 3], p.rv_triangularity, self.rv.turn_rad)[1]
        scale = self._rest_scale(rho, edge, edge_rest, blood, stretch)
        tube_scale = self._rest_scale(distance, now[:, 6], rest[:, 6], blood, stretch)
        q.rest_x[index] = np.where(of_body, rest[:, 0] + dx * scale, rest[:, 4] + (x - now[:, 4]) * tube_scale)
        q.rest_y[index] = np.where(of_body, rest[:, 1] + dy * scale, rest[:, 5] + (y - now[:, 5]) * tube_scale)

        structure = np.where(blood, np.uint8(Structure.RV_BLOOD), np.uint8(Structure.RV_MYOCARDIUM)).astype(np.uint8)
        structure[blood & (level < 0.0) & ~of_body] = Structure.RV_OUTFLOW
        # What lies above the tricuspid annulus beside the outflow tract is atrium by now.
        top = self.rv.top_mm(state.ejection)
        atrial = of_body & (merged_depth(rho - edge, distance - now[:, 6], level, top) >= 0.0) & (level < top)
        structure[atrial] = np.where(blood[atrial], Structure.RA_BLOOD, Structure.RA_WALL)
        leaflet = of_body & blood & (np.abs(level - top) < 0.7)
        if mitral_opening(self.timing, state.phase) < 0.3:
            structure[leaflet] = Structure.TRICUSPID_VALVE
        clinical = np.where(blood & ~atrial & (level >= -p.rv_outflow_labelled_mm), 3, 0).astype(np.uint8)
        share = np.clip(level / self.rv.apex_mm, 0.0, 1.0)
        thickness = 3.5 + 5.0 * share
        layer = np.flatnonzero(blood & ~atrial & (-depth < thickness))
        strands = is_strand(
            q.rest_x[index[layer]], q.rest_y[index[layer]], level[layer],
            strand_share(1.0 + depth[layer] / thickness[layer], p.rv_trabeculation * (0.8 + 0.4 * share[layer])), p.seed + 1,
        )  # fmt: skip
        structure[layer[strands]] = Structure.RV_TRABECULAE
        start, end = state.band
        along = end - start
        from_start = np.stack([x, y, level], axis=1) - start
        place = np.clip(from_start @ along / max(float(along @ along), 1e-6), 0.0, 1.0)
        off = np.linalg.norm(from_start - place[:, None] * along, axis=1)
        structure[blood & (off < 1.9)] = Structure.MODERATOR_BAND
        q.structure[index], q.clinical[index] = structure, clinical
        q.open[index] = False

    @staticmethod
    def _rest_scale(radius: NDArray, edge: NDArray, edge_rest: NDArray, blood: NDArray, stretch: float) -> NDArray:
        """Factor from present to rest offset: linear in the blood, volume-preserving in the wall."""
        wall = np.sqrt(np.maximum(edge_rest**2 + (radius**2 - edge**2) * stretch, 0.0)) / np.maximum(radius, 1e-6)
        return np.where(blood, edge_rest / np.maximum(edge, 1e-6), wall)

    def _chambers(self, q: _Points, state: HeartState) -> None:
        index = np.flatnonzero(q.open & (q.level < 8.0) & (q.level > -70.0))
        if not index.size:
            return
        x, y, level = q.x[index], q.y[index], q.level[index]
        structure = np.zeros(len(index), np.uint8)
        rest_x, rest_y = x.copy(), y.copy()
        inlets = dict(enumerate(self.base.inlets))
        for number, chamber in enumerate(self.base.chambers):
            depth = chamber.depth(x, y, level, state.atrial_growth)
            if number in inlets:
                distance, radius = inlets[number].distance(x, y, level)
                depth = np.minimum(depth, distance - radius)
            wall = (depth < chamber.wall_mm) & (structure == 0)
            lumen = depth < 0.0
            structure[wall] = chamber.wall
            structure[lumen & (structure != Structure.RA_BLOOD)] = chamber.blood
            cx, cy, _ = chamber.centre_mm
            inside = wall | lumen
            rest_x[inside] = cx + (x[inside] - cx) / state.atrial_growth
            rest_y[inside] = cy + (y[inside] - cy) / state.atrial_growth
        found = structure != 0
        q.structure[index[found]] = structure[found]
        q.rest_x[index[found]], q.rest_y[index[found]] = rest_x[found], rest_y[found]
        q.open[index[found]] = False

    def _fill_sac(self, q: _Points, state: HeartState) -> NDArray[np.bool_]:
        """Fat, fluid and pericardium around the bodies; tells which points beyond are swept (see `HeartSample`)."""
        assert self._sacs is not None
        index = np.flatnonzero(q.open)
        first, last = self._sacs
        x, y, level = q.x[index], q.y[index], q.level[index]
        radius, rest_edge = first.radius(x, y, level)
        end_edge = last.radius(x, y, level)[1]
        edge = rest_edge + state.ejection * (end_edge - rest_edge)
        inside = radius < edge
        swept = np.zeros(len(q.x), dtype=bool)
        follows = ~inside & (radius < rest_edge + FOLLOW_MM) & (edge > 0.0) & (edge < rest_edge)
        swept[index[follows]] = True
        outward = self._followed(radius[follows], edge[follows], rest_edge[follows]) / radius[follows]
        q.rest_x[index[follows]] = CENTRE_MM[0] + (x[follows] - CENTRE_MM[0]) * outward
        q.rest_y[index[follows]] = CENTRE_MM[1] + (y[follows] - CENTRE_MM[1]) * outward
        index, radius, edge, rest_edge = index[inside], radius[inside], edge[inside], rest_edge[inside]
        structure = np.full(len(index), Structure.EPICARDIAL_FAT, np.uint8)
        fluid = self.parameters.pericardial_fluid_mm
        structure[radius > edge - 1.1 - fluid] = Structure.PERICARDIAL_FLUID
        structure[radius > edge - 1.1] = Structure.PERICARDIUM
        q.structure[index] = structure
        scale = rest_edge / np.maximum(edge, 1e-6)
        q.rest_x[index] = CENTRE_MM[0] + (q.x[index] - CENTRE_MM[0]) * scale
        q.rest_y[index] = CENTRE_MM[1] + (q.y[index] - CENTRE_MM[1]) * scale
        return swept

    @staticmethod
    def _followed(radius: NDArray, edge: NDArray, rest_edge: NDArray) -> NDArray:
        """Where tissue now at `radius` outside the sac was at end diastole: it followed less the farther out it is."""
        return rest_edge + (radius - edge) * (FOLLOW_MM / (FOLLOW_MM + rest_edge - edge))


__all__ = ["Heart", "HeartSample", "HeartState", "LevelTable"]
