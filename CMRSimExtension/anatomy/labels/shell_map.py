"""The map between two states of a heart that nested radial shells around its long axis describe, both ways."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FADE_MM = 25.0
_FLOW_FADE_MM = 20.0


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


class ShellMap:
    """A monotone map between shells then and now along every ray from the long axis.

    Between two neighbouring shells the squared radius goes linearly from one state to the other, which keeps areas in
    proportion; beyond the last one the displacement fades out.

    Parameters
    ----------
    tables
        Shells of the label map (the material state).
    moved_mm
        (levels,) present z of every material level, rising.
    shells
        Present squared radii, (levels, angles) each, by material level and angle: endo, epi, free, outer.
    twist_rad
        (levels,) present minus material angle.
    identity
        Whether nothing has moved at all.
    """

    def __init__(
        self,
        tables: ShellTables,
        moved_mm: NDArray[np.float64],
        shells: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
        twist_rad: NDArray[np.float64],
        *,
        identity: bool = False,
    ) -> None:
        self.tables, self.identity = tables, identity
        self._moved, self._twist = moved_mm, twist_rad
        steps = np.diff(moved_mm) / tables.step_mm
        self._slope = np.concatenate([steps, steps[-1:]])
        columns = np.stack([tables.endo, tables.epi, tables.free, tables.outer, *shells], axis=-1)
        # The first angle again at the end, so that no look-up has to wrap around.
        self._columns = np.concatenate([columns, columns[:, :1]], axis=1).astype(np.float64)
        self._per_radian = tables.endo.shape[1] / (2 * np.pi)

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
        fade = ramp(z, self._moved_base() - _FLOW_FADE_MM, self._moved_base())
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
        high -= low
        high *= part[:, None]
        high += low
        # One column at a time is what the caller works on.
        return np.ascontiguousarray(high.T)

    def to_label_map(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where the tissue now at heart coordinates `points` (n, 3) lies in the label map."""
        if self.identity:
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
        if self.identity:
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


def ramp(value: NDArray, low: float, high: float) -> NDArray:
    """0 below `low`, 1 above `high`, C1 smooth between."""
    u = np.clip((value - low) / (high - low), 0.0, 1.0)
    return u * u * (3.0 - 2.0 * u)


def _fade(u: NDArray) -> NDArray:
    """1 at 0, 0 from 1 on, C1 smooth; steepest slope 1.5."""
    v = np.clip(u, 0.0, 1.0)
    return 1.0 - v * v * (3.0 - 2.0 * v)
