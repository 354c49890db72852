"""Valve leaflets, thin and dark: the mitral valve's cone and the three cusps of a semilunar valve."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.timing import CardiacTiming

if TYPE_CHECKING:
    from CMRSimExtension.anatomy.heart.base import Base

_LEAFLET_MM = 0.8
_COMMISSURES = 0.75
"""Length of the line along which the mitral leaflets meet, as a fraction of the annulus."""
_LEAFLET_DEPTH_MM = 21.0


def mitral_opening(timing: CardiacTiming, phase: float) -> float:
    """How far the mitral valve is open: 0 in systole, 1 in early filling, half in diastasis, 0.8 in the atrial kick."""
    relaxed = timing.systole_fraction + 0.06
    knots = [0.0, relaxed, relaxed + 0.05, relaxed + 0.18, 0.80, 0.90, 0.97, 1.0]
    values = [0.0, 0.0, 1.0, 0.9, 0.45, 0.8, 0.15, 0.0]
    order = np.maximum.accumulate(knots)
    return float(np.interp(phase, order, values))


def mitral_leaflets(
    x: NDArray, y: NDArray, level: NDArray, base: "Base", timing: CardiacTiming, phase: float
) -> NDArray[np.bool_]:
    """Points (heart coordinates in mm, material level) inside a mitral leaflet at `phase`."""
    opening = mitral_opening(timing, phase)
    cx, cy = base.mitral_centre_mm
    annulus = base.mitral_radius_mm
    # From the annulus to the leaflet tips, shallow and nearly shut in systole, deep and wide when open. The section
    # narrows to a slit that lies across the direction of the aortic valve, the anterior leaflet's neighbour.
    depth = 7.0 + (_LEAFLET_DEPTH_MM - 7.0) * opening
    tip = annulus * (0.05 + 0.55 * opening)
    # Beyond the tips nothing is shown, and the section must not shrink to nothing there.
    shown, along = level <= depth, np.minimum(level / depth, 1.0)
    narrow = annulus + (tip - annulus) * along
    wide = np.maximum(annulus * (1.0 + (_COMMISSURES - 1.0) * along), narrow)
    dx, dy = x - cx * (1 - 0.5 * along), y - cy * (1 - 0.5 * along)
    ax, ay = base.aortic_valve_mm[0] - cx, base.aortic_valve_mm[1] - cy
    towards, across = (dx * ax + dy * ay) / np.hypot(ax, ay), (dx * ay - dy * ax) / np.hypot(ax, ay)
    # First-order distance to the ellipse: its implicit function over the length of that function's gradient.
    f = np.sqrt((towards / narrow) ** 2 + (across / wide) ** 2) + 1e-6
    gradient = np.sqrt((towards / narrow**2) ** 2 + (across / wide**2) ** 2) / f + 1e-6
    steepness = np.sqrt(1.0 + ((annulus - tip) / depth) ** 2)
    return shown & (np.abs(f - 1.0) / gradient < 0.5 * _LEAFLET_MM * steepness)


def semilunar_cusps(x: NDArray, y: NDArray, level: NDArray, valve: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Points in the closed cusps of an aortic or pulmonary valve: three commissural lines above the annulus."""
    cx, cy, annulus = valve
    dx, dy = x - cx, y - cy
    height = annulus - level  # away from the ventricle
    angle = np.arctan2(dy, dx)
    turn = np.abs((angle + np.pi / 6) % (2 * np.pi / 3) - np.pi / 3)
    line = np.hypot(dx, dy) * np.sin(turn) < 0.6
    return line & (height > 2.0) & (height < 13.0)
