"""The right ventricle: a crescent that hugs the septum, and its outflow tract.

At every level the RV is what an outline around its own centre encloses, less the LV: so it meets the septum without a
gap, ends in sharp horns at the insertion points, and its free wall keeps its volume by the same closed form as the LV's
(rho^2 - rho_endo^2 = (P^2 - P_endo^2) / lambda around a centre that moves with the level only).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.levels import LevelTable
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.ventricle import LeftVentricle, Shells

TOP_MM = 0.0
"""Material level above which only the outflow tract belongs to the RV: that of the mitral annulus."""
PULMONARY_VALVE_MM = -20.0
"""Level of the pulmonary valve."""
OUTFLOW_END_MM = 34.0
"""Level at which the outflow tract has merged into the body of the RV."""
ATRIAL_WALL_MM = 1.8
"""Thickness of the right atrium's wall."""
ANNULUS_MM = 16.0
"""Over this length the inlet narrows to the annulus."""
INFERIOR_SHIFT = 0.1
"""The body's centre lies below the line through the middle of the septum by this share of the LV's radius. With the
lean and with how the inset grows with depth it is fitted to the RV's depth between its insertions in ACDC's labels
(Bernard 2018): at mid level 0.36 of the LV's radius in front, 0.89 at most, 0.64 behind (medians)."""
ROUND = 0.85
"""The body's semi-axis along the septum is at least this share of the one across it: failing RVs, several times as
large as the LV beside them, grow round and overhang the insertions (ACDC's group RV), and not ever deeper."""
BLEND_MM = 18.0
"""Over this distance the body and the outflow tract run into each other."""
_CELL_MM = 4.0
"""In-plane step of the quadrature grid; cells count by how far the outline reaches into them."""
_TOLERANCE = 0.003
"""Volumes asked for are met to this share."""


@dataclass(frozen=True)
class RightOutline:
    """Outline of the RV at one ejection, and at end diastole, per level.

    Columns of `now` and `rest`: centre x, centre y, semi-axis across (a), semi-axis along (b) of the body; centre x, y
    and radius of the outflow tract. Lengths in mm, heart coordinates.
    """

    now: LevelTable
    rest: LevelTable


def outline_radius(
    dx: NDArray, dy: NDArray, a: NDArray, b: NDArray, harmonics: tuple[float, float], turn_rad: float
) -> tuple[NDArray, NDArray]:
    """Distance from the RV's centre, and the outline's radius in that direction.

    Parameters
    ----------
    dx, dy
        (n,) offsets from the centre, mm.
    a, b
        (n,) semi-axes towards the free wall and along the septum, mm.
    harmonics
        Cosine and sine amplitude of the third harmonic, counted from the free-wall direction.
    turn_rad
        Angle by which the free-wall direction is turned from -x.
    """
    # NumPy's own scalars would turn single precision into double.
    c, s = -math.cos(turn_rad), -math.sin(turn_rad)
    along, across = (float(h) for h in harmonics)
    u = c * dx + s * dy  # towards the free wall
    v = s * dx - c * dy  # towards the anterior insertion
    # The centre itself has no direction; a tenth of a micrometre gives it one.
    u = np.where(u == 0.0, 1e-4, u)
    rho = np.sqrt(u * u + v * v)
    cosine, sine = u / rho, v / rho
    ellipse = 1.0 / np.sqrt((cosine / a) ** 2 + (sine / b) ** 2)
    wave = along * cosine * (4 * cosine**2 - 3) + across * sine * (3 - 4 * sine**2)
    return rho, ellipse * (1.0 + wave)


def merged_depth(body: NDArray, tube: NDArray, level: NDArray, top_mm: float = TOP_MM) -> NDArray:
    """Signed distance (mm, below 0 inside) to the RV from those to its body and to its outflow tract, per level.

    Above the tricuspid annulus (at level `top_mm`) there is only the outflow tract, below `OUTFLOW_END_MM` only the
    body; between them the two blend (polynomial smooth minimum), so that no notch separates them.
    """
    share = np.clip(0.5 + 0.5 * (tube - body) / BLEND_MM, 0.0, 1.0)
    both = tube + (body - tube) * share - BLEND_MM * share * (1.0 - share)
    return np.where(level < top_mm, tube, np.where(level > OUTFLOW_END_MM, body, both))


def _crossing(
    excess: Callable[[float], float], start: float, step: float, limits: tuple[float, float], tolerance: float
) -> float:
    """Where a rising, nearly straight function crosses zero (secant steps from `start`), or the limit nearest to it."""
    x, value = start, excess(start)
    if abs(value) < tolerance:
        return x
    slope = abs(step)
    later = float(np.clip(x - np.sign(value) * slope, *limits))
    for _ in range(10):
        new = excess(later)
        if abs(new) < tolerance or later == x:
            return later
        rise = (new - value) / (later - x)
        x, value = later, new
        # A flat or falling piece would send the secant the wrong way.
        later = float(np.clip(x - value / max(rise, 1e-3 * tolerance), *limits))
    return later


class RightVentricle:
    """Outlines of one RV over the cycle; reaches the EDV and ESV of its parameters on a quadrature grid."""

    def __init__(self, parameters: HeartParameters, lv: LeftVentricle, bend: "NDArray") -> None:
        self.parameters = parameters
        self.lv = lv
        self.start_mm, self.step_mm = -24.0, 3.0
        self.levels_mm = np.arange(self.start_mm, lv.apex_mm + 6.0, self.step_mm)
        self._bend = bend  # (levels, 2) centre of the LV at those levels
        self.turn_rad = float(np.deg2rad(parameters.rv_sag_deg))
        # The body's axes are turned by more than its place around the LV: it leans away from the septum.
        self.axis_rad = self.turn_rad - float(np.deg2rad(parameters.rv_lean_deg))
        self.apex_mm = parameters.rv_apex_level * lv.apex_mm
        # One that is far larger than the LV overhangs it on all sides.
        more = 24.0 if parameters.rv_edv_ml > 1.8 * parameters.lv_edv_ml else 0.0
        x = np.arange(-110.0 - more, 14.0 + more, _CELL_MM, dtype=np.float32)
        y = np.arange(-70.0 - more, 72.0 + more, _CELL_MM, dtype=np.float32)
        self._grid = tuple(g.astype(np.float32) for g in np.meshgrid(x, y, indexing="ij"))
        self._cell_ml = _CELL_MM**2 * self.step_mm / 1000.0
        self._rest_shells = lv.shells(0.0)
        self._epi_angles = self._epi_on_grid()
        self._width, self._contractions = 1.0, np.zeros(3)
        self._knots = np.array([0.0, 0.5, 1.0])
        self._width = self._solve_width()
        self._contractions = self._solve_contraction()

    def _epi_on_grid(self) -> tuple[NDArray, NDArray, NDArray]:
        """Index of angle and squared distance from the LV axis for the quadrature grid, and level indices."""
        gx, gy = self._grid
        dx = gx[None] - self._bend[:, 0, None, None]
        dy = gy[None] - self._bend[:, 1, None, None]
        angles = len(self.lv.angles)
        index = np.rint(np.arctan2(dy, dx) / (2 * np.pi) * angles).astype(np.int32) % angles
        rows = np.clip(np.rint(self.levels_mm / self.lv.levels_mm[1]), -1, len(self.lv.levels_mm) - 1).astype(int)
        return index, dx * dx + dy * dy, rows

    def _septal_radius(self, shells: Shells) -> NDArray:
        """(levels,) epicardial radius of the LV on the RV's side."""
        septal = np.abs(self.lv.angles - np.pi) < 0.9
        radius = np.sqrt(np.mean(shells.epi[:, septal], axis=1))
        return np.interp(self.levels_mm, self.lv.levels_mm, radius)

    def outline_rows(self, shells: Shells, contraction: float, width: float) -> NDArray:
        """(levels, 7): the columns of `RightOutline` at one ejection."""
        p = self.parameters
        z = self.levels_mm
        level = np.clip(z / self.apex_mm, 0.0, 1.6)
        radius = self._septal_radius(shells)
        basal = np.clip(1.0 - level / 0.5, 0.0, 1.0)
        taper = np.clip(1.0 - np.clip(level, 0, 1) ** 4.0, 0.0, None) ** 0.65
        beyond = np.clip(level - 1.0, 0.0, 1.0)
        free = (
            width * (27.0 * (1.0 + 0.32 * basal) * taper) * (1.0 - contraction) - 30.0 * beyond - 1.0 * (level > 0.98)
        )
        # A slim RV beside a large LV covers less of its circumference.
        slim = np.clip(32.0 * width * (1.0 - contraction) / np.max(radius), 0.2, 1.6) ** 0.3
        half = np.deg2rad(p.rv_half_angle_deg * min(slim, 1.08) + 5.0 * basal - 20.0 * np.clip(level, 0, 1) ** 3)
        # The deeper the RV, the farther out its widest place: it overhangs the insertion points on both sides.
        deep = np.clip(free / np.maximum(radius, 1.0), 0.0, 1.6)
        inset = radius * (0.62 + 0.55 * deep)
        a = np.maximum(radius + free - inset, 2.0)
        along = np.clip((inset - radius * np.cos(half)) / a, -0.92, 0.82)
        b = np.maximum(radius * np.sin(half) / np.sqrt(1.0 - along**2), 2.0)
        b = np.maximum(b, ROUND * a)
        # Towards the tricuspid annulus the inlet narrows, as the wall turns in to the atrioventricular groove.
        closing = np.clip(1.0 - z / ANNULUS_MM, 0.0, 1.0) ** 2
        a = a * (1.0 - 0.28 * closing)
        b = b * (1.0 - 0.22 * closing)
        # Its widest place is nearer to the inferior insertion.
        lower = INFERIOR_SHIFT * radius
        cx = self._bend[:, 0] - inset * np.cos(self.turn_rad) + lower * np.sin(self.turn_rad)
        cy = self._bend[:, 1] - inset * np.sin(self.turn_rad) - lower * np.cos(self.turn_rad)
        # The outflow tract leaves the anterior part of the body and climbs over the anterior insertion.
        climb = np.clip((OUTFLOW_END_MM - z) / (OUTFLOW_END_MM - PULMONARY_VALVE_MM), 0.0, 1.15)
        reach = 0.97 * radius + 0.62 * p.rv_outflow_radius_mm * width**0.5
        angle = np.deg2rad(150.0 - 37.0 * climb)
        ox = self._bend[:, 0] + reach * np.cos(angle)
        oy = self._bend[:, 1] + (reach + 4.0 * climb) * np.sin(angle)
        tube = (
            p.rv_outflow_radius_mm
            * width**0.5
            * (1.0 - 0.4 * contraction)
            * np.where(z < 0, 1.0, 1.0 - 0.25 * (1 - climb))
        )
        return np.stack([cx, cy, a, b, ox, oy, tube], axis=1)

    def top_mm(self, ejection: float) -> float:
        """Material level of the tricuspid annulus: nearer the apex than the mitral one, and it descends farther."""
        return TOP_MM + self.parameters.tricuspid_offset_mm + self.parameters.rv_descent_mm * ejection

    def _volume_ml(
        self, shells: Shells, contraction: float, width: float, stretch: float, top_mm: float
    ) -> float:
        rows = self.outline_rows(shells, contraction, width).astype(np.float32)[:, :, None, None]
        gx, gy = self._grid
        index, squared, lv_rows = self._epi_angles
        rho, edge = outline_radius(
            gx - rows[:, 0], gy - rows[:, 1], rows[:, 2], rows[:, 3], self.parameters.rv_triangularity, self.axis_rad
        )
        z = self.levels_mm[:, None, None]
        tube = np.hypot(gx - rows[:, 4], gy - rows[:, 5]) - rows[:, 6]
        upper = merged_depth(rho - edge, tube, z, top_mm + 0.5 * self.step_mm)
        lower = merged_depth(rho - edge, tube, z, top_mm - 0.5 * self.step_mm)
        # A cell that the annulus, the end of the labelled outflow tract or the apex cuts counts by the share within.
        ventricle, labelled = (
            np.clip((z - end) / self.step_mm + 0.5, 0.0, 1.0)
            for end in (top_mm, top_mm - self.parameters.rv_outflow_labelled_mm)
        )
        below, above = (np.clip(0.5 - depth / _CELL_MM, 0.0, 1.0) for depth in (lower, upper))
        inside = ventricle * below + (labelled - ventricle) * above
        inside = inside * np.clip((self.apex_mm - z) / self.step_mm + 0.5, 0.0, 1.0)
        epi = shells.epi[np.maximum(lv_rows, 0)[:, None, None], index]
        outside = np.clip((np.sqrt(squared) - np.sqrt(epi)) / _CELL_MM + 0.5, 0.0, 1.0)
        outside = np.where(lv_rows[:, None, None] >= 0, outside, 1.0)
        ventricular = np.where(self.levels_mm >= 0, stretch, 1.0)[:, None, None]
        return float(np.sum(inside * outside * ventricular) * self._cell_ml)

    def _solve_width(self) -> float:
        top = self.top_mm(0.0)

        def excess(log_width: float) -> float:
            width = float(np.exp(log_width))
            return self._volume_ml(self._rest_shells, 0.0, width, 1.0, top) - self.parameters.rv_edv_ml

        start = np.log(self.parameters.rv_edv_ml / self._volume_ml(self._rest_shells, 0.0, 1.0, 1.0, top))
        limits = (float(np.log(0.12)), float(np.log(3.6)))
        tolerance_ml = _TOLERANCE * self.parameters.rv_edv_ml
        return float(np.exp(_crossing(excess, float(np.clip(1.3 * start, *limits)), 0.15, limits, tolerance_ml)))

    def _solve_contraction(self) -> NDArray:
        p = self.parameters
        found = [0.0]
        for ejection in self._knots[1:]:
            shells, stretch = self.lv.shells(float(ejection)), self.lv.stretch(float(ejection))
            top = self.top_mm(float(ejection))
            wanted = p.rv_edv_ml - ejection * (p.rv_edv_ml - p.rv_esv_ml)

            def excess(
                c: float, shells: Shells = shells, stretch: float = stretch, wanted: float = wanted, top: float = top
            ) -> float:
                return wanted - self._volume_ml(shells, c, self._width, stretch, top)

            found.append(_crossing(excess, 0.42 * float(ejection), 0.1, (-0.2, 0.85), _TOLERANCE * wanted))
        return np.array(found)

    def volume_ml(self, ejection: float) -> float:
        """RV volume at `ejection`, integrated over the quadrature grid."""
        contraction = float(np.interp(ejection, self._knots, self._contractions))
        return self._volume_ml(
            self.lv.shells(ejection), contraction, self._width, self.lv.stretch(ejection), self.top_mm(ejection)
        )

    def outline(self, ejection: float, dtype: type = np.float64) -> RightOutline:
        """Outline at `ejection` in [0, 1]."""
        contraction = float(np.interp(ejection, self._knots, self._contractions))
        now = self.outline_rows(self.lv.shells(ejection), contraction, self._width)
        rest = self.outline_rows(self._rest_shells, 0.0, self._width)
        return RightOutline(
            LevelTable(self.start_mm, self.step_mm, now.astype(dtype)),
            LevelTable(self.start_mm, self.step_mm, rest.astype(dtype)),
        )
