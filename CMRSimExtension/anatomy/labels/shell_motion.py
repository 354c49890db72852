"""How a heart known from one label map beats: nested radial shells and the closed-form incompressible map of the wall.

Heart coordinates (x, y, z) in mm as in `HeartFrame`. Capital letters are the label map's own moment, small letters the
present one; R_endo, R_epi and R_free (RV free wall, endocardial) are functions of angle and level measured on the
labels.
With Z' the distance above the fixed apex and s the ejection,

    z = f(Z), f' = lambda                    the base comes down, the atrial roof and the apex stay
    theta = Theta + tau(Z)                    torsion
    r = R r_endo / R_endo                     R < R_endo: the pool, r_endo^2 = kappa R_endo^2
    r^2 - r_endo^2 = (R^2 - R_endo^2)/lambda  LV wall: keeps its volume
    r^2 - r_epi^2 = kappa_rv (R^2 - R_epi^2)  RV pool, up to R_free
    r^2 - r_free^2 = (R^2 - R_free^2)/lambda  RV wall and fat
    beyond                                    the displacement fades out

Every line is monotone in r, so the whole map is invertible; the Jacobian of the wall is exactly 1, that of the pools is
kappa lambda, so ejection fractions are met by choosing kappa.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FADE_MM = 25.0
_FLOW_FADE_MM = 20.0
_ROOF_MM = 58.0
"""Above the annulus plane the descent of the base fades out over this distance."""


@dataclass(frozen=True)
class ShellTables:
    """Squared radii of the shells at the label map's moment, mm^2.

    Attributes
    ----------
    start_mm, step_mm
        Level Z of the first row and distance between rows.
    endo, epi, free, outer
        (levels, angles) squared radii: LV endocardium, LV epicardium, RV endocardial free wall (= epi where there is no
        RV) and the outer surface of the RV wall. Angles run evenly over a full turn from the lateral wall.
    apex_mm, base_mm
        Levels of the epicardial apex and of the annulus plane.
    """

    start_mm: float
    step_mm: float
    endo: NDArray[np.float64]
    epi: NDArray[np.float64]
    free: NDArray[np.float64]
    outer: NDArray[np.float64]
    apex_mm: float
    base_mm: float = 0.0

    @property
    def levels_mm(self) -> NDArray[np.float64]:
        """Level of every row."""
        return self.start_mm + self.step_mm * np.arange(len(self.endo), dtype=np.float64)


@dataclass(frozen=True)
class Contraction:
    """State of contraction at one moment, relative to the label map's own moment.

    Attributes
    ----------
    stretch
        lambda, length of the ventricles over that in the label map.
    lv_area, rv_area
        kappa of the two pools.
    twist_rad
        Rotation of the apex against the base, counter-clockwise seen from the apex.
    """

    stretch: float = 1.0
    lv_area: float = 1.0
    rv_area: float = 1.0
    twist_rad: float = 0.0

    @property
    def is_rest(self) -> bool:
        """Whether nothing has moved."""
        return self == Contraction()


class ShellMotion:
    """The map between the label map's moment and one other moment, both ways.

    Parameters
    ----------
    tables
        Shells measured on the label map.
    state
        Contraction at the other moment.
    """

    def __init__(self, tables: ShellTables, state: Contraction) -> None:
        self.tables, self.state = tables, state
        level = tables.levels_mm
        # f(Z) is straight above the roof, to the base, to the apex, and beyond; smoothing the slope rounds the corners.
        slope = np.ones_like(level)
        ventricles = (level > tables.base_mm) & (level < tables.apex_mm)
        slope[ventricles] = state.stretch
        roof = (level > tables.base_mm - _ROOF_MM) & (level <= tables.base_mm)
        slope[roof] += (1.0 - state.stretch) * ventricles.sum() / roof.sum()
        slope = ndimage.gaussian_filter1d(slope, 4.0 / tables.step_mm, mode="nearest")
        middle = 0.5 * (slope[1:] + slope[:-1])
        moved = np.concatenate([[0.0], np.cumsum(middle * tables.step_mm)])
        self._moved = moved + level[-1] - moved[-1]
        self._slope = np.concatenate([middle, middle[-1:]])
        # Pools empty below the annulus plane; the atria above keep their width and are stretched by the descent.
        ventricular = _ramp(level, tables.base_mm - 14.0, tables.base_mm + 4.0)
        self._areas = 1.0 + (np.array([[state.rv_area], [state.lv_area]]) - 1.0) * ventricular
        rv, lv = self._areas[:, :, None]
        stretch = slope[:, None]
        endo = tables.endo * lv
        epi = endo + (tables.epi - tables.endo) / stretch
        free = epi + (tables.free - tables.epi) * rv
        outer = free + (tables.outer - tables.free) / stretch
        angles = tables.endo.shape[1]
        self._columns = np.stack([tables.endo, tables.epi, tables.free, tables.outer, endo, epi, free, outer], axis=-1)
        self._columns = np.concatenate([self._columns, self._columns[:, :1]], axis=1).astype(np.float64)
        self._per_radian = angles / (2 * np.pi)
        share = np.clip((level - tables.base_mm) / (tables.apex_mm - tables.base_mm), 0.0, 1.0)
        # The base turns back by a third of the difference (Rademakers et al., Circulation 1992;85:1572).
        fade = _ramp(level, tables.base_mm - 30.0, tables.base_mm) * (
            1 - _ramp(level, tables.apex_mm, tables.apex_mm + 12)
        )
        self._twist = state.twist_rad * (share - 0.33) * fade

    def reach_squared(self) -> NDArray[np.float64]:
        """(levels,) squared distance from the long axis beyond which nothing moves, now or in the label map."""
        was, now = np.sqrt(self._columns[..., 3]), np.sqrt(self._columns[..., 7])
        width = np.maximum(_FADE_MM, 2.2 * np.abs(was - now))
        reach = (np.maximum(was, now) + width).max(axis=1) + 1.0
        # Points shift along the axis too: take the widest level within reach of the shift.
        shift = int(np.ceil(np.abs(self._moved - self.tables.levels_mm).max() / self.tables.step_mm)) + 2
        return ndimage.maximum_filter1d(reach, 2 * shift + 1, mode="nearest") ** 2

    def emptying_flow(self, points: NDArray[np.floating], rate: NDArray, left: bool) -> NDArray[np.float64]:
        """Velocity (n, 3) along the long axis, widening with the pool; its divergence is minus `rate` (1/s) everywhere.

        With A(s) the pool's present cross-section at distance s above its apex and V(s) the volume below, the axial
        speed is -rate V / A towards the base and the radial one follows the change of A.
        """
        inner, outer = (None, 4) if left else (5, 6)
        area = self._columns[:, :-1, outer].copy()
        if inner is not None:
            area -= self._columns[:, :-1, inner]
        area = area.mean(axis=1) * np.pi
        levels = self._moved
        step = np.abs(np.gradient(levels))
        below = np.cumsum((area * step)[::-1])[::-1]
        height = np.where(area > 5.0, below / np.maximum(area, 5.0), 0.0)
        taper = np.where(area > 5.0, -np.gradient(area, levels) / np.maximum(area, 5.0), 0.0)
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        fade = _ramp(z, self._moved_base() - _FLOW_FADE_MM, self._moved_base())
        speed = -rate * np.interp(z, levels, height) * fade
        squared = x * x + y * y
        if inner is not None:
            ring = np.interp(z, levels, self._columns[:, :-1, inner].mean(axis=1))
            widening = np.maximum(squared - ring, 0.0) / np.maximum(squared, 1.0)
        else:
            widening = np.ones_like(squared)
        lateral = 0.5 * speed * np.interp(z, levels, taper) * widening
        return np.stack([x * lateral, y * lateral, -speed], axis=1)

    def _moved_base(self) -> float:
        return float(np.interp(self.tables.base_mm, self.tables.levels_mm, self._moved))

    def pool_jacobian(self, left: bool) -> NDArray[np.float64]:
        """(levels,) present volume over volume in the label map of the LV's (or RV's) pool, by material level."""
        return self._areas[int(left)] * self._slope

    def _at_level(self, level: NDArray) -> tuple[NDArray, NDArray]:
        t = self.tables
        position = np.clip((level - t.start_mm) / t.step_mm, 0.0, len(t.endo) - 1.000001)
        row = position.astype(np.int64)
        return row, position - row

    def _shells(self, angle: NDArray, row: NDArray, part: NDArray) -> NDArray:
        """(8, n) squared radii at material angle and level."""
        turn = (angle * self._per_radian) % (self._columns.shape[1] - 1)
        # A tiny negative angle comes out of the modulo as a full turn.
        column = np.minimum(turn.astype(np.int64), self._columns.shape[1] - 2)
        f = turn - column
        flat = self._columns.reshape(-1, 8)
        start = row * self._columns.shape[1] + column
        below = start + self._columns.shape[1]
        low = flat[start] * (1 - f)[:, None] + flat[start + 1] * f[:, None]
        high = flat[below] * (1 - f)[:, None] + flat[below + 1] * f[:, None]
        return (low + (high - low) * part[:, None]).T

    def to_label_map(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where the tissue now at heart coordinates `points` (n, 3) lies in the label map."""
        if self.state.is_rest:
            return np.asarray(points, dtype=np.float64)
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        levels = self.tables.levels_mm
        material = np.interp(z, self._moved, levels)
        material = np.where((z < self._moved[0]) | (z > self._moved[-1]), z, material)
        row, part = self._at_level(material)
        twist = self._twist[row] + (self._twist[row + 1] - self._twist[row]) * part
        squared = x * x + y * y
        angle = np.arctan2(y, x)
        big_endo, big_epi, big_free, big_outer, endo, epi, free, outer = self._shells(angle - twist, row, part)
        shell = _between_shells(
            squared, (endo, epi, free, outer), (big_endo, big_epi, big_free, big_outer), self._slope[row]
        )
        share = np.ones_like(squared)
        beyond = np.flatnonzero(squared > outer)
        radius = np.sqrt(np.maximum(shell, 0.0))
        if beyond.size:
            now, was = np.sqrt(outer[beyond]), np.sqrt(big_outer[beyond])
            r = np.sqrt(squared[beyond])
            width = np.maximum(_FADE_MM, 2.2 * np.abs(was - now))
            w = _fade((r - now) / width)
            share[beyond] = w
            radius[beyond] = r + (was - now) * w
        theta = angle - twist * share
        out = np.empty((len(points), 3))
        out[:, 0] = radius * np.cos(theta)
        out[:, 1] = radius * np.sin(theta)
        out[:, 2] = z + (material - z) * share
        return out

    def from_label_map(
        self, points: NDArray[np.floating], beyond: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    ) -> NDArray[np.float64]:
        """Where the tissue at heart coordinates `points` (n, 3) of the label map lies now.

        Closed form up to the outer surface of the heart; beyond it Newton's method, to 1e-9 mm, or what `beyond` says.
        """
        at = np.asarray(points, dtype=np.float64)
        if self.state.is_rest:
            return at
        levels = self.tables.levels_mm
        material = at[:, 2]
        z = np.where(
            (material < levels[0]) | (material > levels[-1]), material, np.interp(material, levels, self._moved)
        )
        row, part = self._at_level(material)
        twist = self._twist[row] + (self._twist[row + 1] - self._twist[row]) * part
        squared = at[:, 0] ** 2 + at[:, 1] ** 2
        angle = np.arctan2(at[:, 1], at[:, 0])
        big_endo, big_epi, big_free, big_outer, endo, epi, free, outer = self._shells(angle, row, part)
        shell = _between_shells(
            squared, (big_endo, big_epi, big_free, big_outer), (endo, epi, free, outer), 1.0 / self._slope[row]
        )
        radius, theta = np.sqrt(np.maximum(shell, 0.0)), angle + twist
        out = np.stack([radius * np.cos(theta), radius * np.sin(theta), z], axis=1)
        far = np.flatnonzero(squared > big_outer)
        if far.size:
            out[far] = (beyond or self.solve)(at[far])
        return out

    def solve(self, target: NDArray[np.float64], tolerance_mm: float = 1e-9) -> NDArray[np.float64]:
        """Invert `to_label_map` at (n, 3) points by Newton's method, with halved steps where a step does not help."""
        guess = target.copy()
        missed = self.to_label_map(guess) - target
        size = np.abs(missed).max(axis=1)
        for _ in range(40):
            todo = np.flatnonzero(size > tolerance_mm)
            if not todo.size:
                break
            at, error = guess[todo], missed[todo]
            slopes = np.empty((len(todo), 3, 3))
            for axis in range(3):
                shifted = at.copy()
                shifted[:, axis] += 1e-5
                slopes[:, :, axis] = (self.to_label_map(shifted) - target[todo] - error) / 1e-5
            step = np.linalg.solve(slopes, error[:, :, None])[:, :, 0]
            step *= np.minimum(1.0, 8.0 / np.maximum(np.linalg.norm(step, axis=1), 1e-9))[:, None]
            for _ in range(6):
                trial = at - step
                found = self.to_label_map(trial) - target[todo]
                better = np.abs(found).max(axis=1) < size[todo]
                guess[todo[better]], missed[todo[better]] = trial[better], found[better]
                size[todo[better]] = np.abs(found[better]).max(axis=1)
                if better.all():
                    break
                keep = ~better
                todo, at, step = todo[keep], at[keep], 0.5 * step[keep]
        return guess


def _between_shells(
    squared: NDArray, source: tuple[NDArray, ...], target: tuple[NDArray, ...], slope: NDArray
) -> NDArray:
    """Piecewise linear map of squared radii that takes the shells `source` onto `target`; `slope` beyond the last."""
    out = target[3] + (squared - source[3]) * slope
    for low, high in ((2, 3), (1, 2), (0, 1)):
        ratio = (target[high] - target[low]) / np.maximum(source[high] - source[low], 1e-9)
        out = np.where(squared < source[high], target[low] + (squared - source[low]) * ratio, out)
    return np.where(squared < source[0], squared * (target[0] / np.maximum(source[0], 1e-9)), out)


def _ramp(value: NDArray, low: float, high: float) -> NDArray:
    """0 below `low`, 1 above `high`, C1 smooth between."""
    u = np.clip((value - low) / (high - low), 0.0, 1.0)
    return u * u * (3.0 - 2.0 * u)


def _fade(u: NDArray) -> NDArray:
    """1 at 0, 0 from 1 on, C1 smooth; steepest slope 1.5."""
    v = np.clip(u, 0.0, 1.0)
    return 1.0 - v * v * (3.0 - 2.0 * v)
