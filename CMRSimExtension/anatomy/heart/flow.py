"""How blood moves in the LV and through the valves: a divergence-free field driven by the chambers' own volumes.

In the LV, with R(z, t) the cavity's mean radius and Q(z, t) the rate at which the volume apical of z grows, the plug
flow v_z = Q / (pi R^2), v_r = r (dR/dt + v_z dR/dz) / R satisfies continuity exactly. On it lies a jet from the base
with stream function Q g(r^2 / R^2, z) / (2 pi), g = 0 on the axis and at the wall, which carries no net flow and is
divergence free by construction. In the arterial trunks and the atrial inlets blood moves as a plug along the vessel.
"""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.base import Tube
from CMRSimExtension.anatomy.heart.heart import Heart

_JET_DEPTH_MM = 28.0
_JET_POWER = 3.0
_PHASE_STEP = 0.004


def chamber_flow(heart: Heart, local_mm: NDArray[np.floating], phase: float) -> NDArray[np.float64]:
    """Velocity at points in present heart coordinates.

    Parameters
    ----------
    local_mm
        (n, 3) mm.
    phase
        Cardiac phase in [0, 1).

    Returns
    -------
    (n, 3) mm/s in heart coordinates; zero outside the LV cavity, the arterial trunks and the atrial inlets (the body of
    the RV and of the atria, where flow is slow, is not modelled).
    """
    points = np.asarray(local_mm, dtype=np.float64)
    velocity = np.zeros_like(points)
    seconds = heart.parameters.cycle_ms / 1000.0
    before, after = (phase - _PHASE_STEP) % 1.0, (phase + _PHASE_STEP) % 1.0
    interval = 2.0 * _PHASE_STEP * seconds
    level = heart.state(phase, np.float64).axis.inverse(points[:, 2])
    _ventricle(heart, points, velocity, (before, phase, after), interval)
    emptied = heart.timing.ejection(after) - heart.timing.ejection(before)
    left = emptied * (heart.parameters.lv_edv_ml - heart.parameters.lv_esv_ml) * 1000.0 / interval
    right = emptied * (heart.rv.volume_ml(0.0) - heart.rv.volume_ml(1.0)) * 1000.0 / interval
    mitral, tricuspid = heart.base.inlets
    for tube, outflow in (
        (heart.base.aorta, max(left, 0.0)),
        (heart.base.pulmonary_trunk, max(right, 0.0)),
        (mitral, min(left, 0.0)),
        (tricuspid, min(right, 0.0)),
    ):
        _plug(tube, points, level, velocity, outflow)
    return velocity


def _plug(tube: Tube, points: NDArray, level: NDArray, velocity: NDArray, rate: float) -> None:
    """Plug flow of `rate` mm^3/s away from the ventricle (below 0: into it)."""
    inside = np.flatnonzero((level < 0.0) & (level >= tube.levels_mm[0]))
    if not inside.size or rate == 0.0:
        return
    distance, radius = tube.distance(points[inside, 0], points[inside, 1], level[inside])
    inside, radius = inside[distance < radius], radius[distance < radius]
    centres = np.asarray(tube.centres_mm)
    slope_x, slope_y = (np.gradient(centres[:, i], tube.levels_mm) for i in (0, 1))
    along = -rate / (np.pi * radius**2)
    here = level[inside]
    velocity[inside, 0] = along * np.interp(here, tube.levels_mm, slope_x)
    velocity[inside, 1] = along * np.interp(here, tube.levels_mm, slope_y)
    velocity[inside, 2] = along


def _ventricle(
    heart: Heart, points: NDArray, velocity: NDArray, phases: tuple[float, float, float], interval: float
) -> None:
    z = points[:, 2]
    grid = np.linspace(0.0, heart.lv.apex_mm, 160)
    radii, volumes = [], []
    for phase in phases:
        state = heart.state(phase, np.float64)
        levels = np.clip(state.axis.inverse(grid), 0.0, heart.lv.apex_mm)
        squared = np.interp(levels, heart.lv.levels_mm, state.shells[:, :-1, 1].mean(axis=1))
        squared = np.where(
            grid >= state.axis.descent_mm, squared, squared[np.searchsorted(grid, state.axis.descent_mm)]
        )
        radii.append(np.sqrt(np.maximum(squared, 1e-6)))
        area = np.pi * squared
        below = np.concatenate([[0.0], np.cumsum(0.5 * (area[1:] + area[:-1]) * np.diff(grid))])
        volumes.append(below[-1] - below)
    radius = radii[1]
    rate = (volumes[2] - volumes[0]) / interval
    radius_rate = (radii[2] - radii[0]) / interval
    state = heart.state(phases[1], np.float64)
    bend = heart.lv.centre_mm(state.axis.inverse(z))
    dx, dy = points[:, 0] - bend[:, 0], points[:, 1] - bend[:, 1]
    r = np.hypot(dx, dy)
    wall = np.interp(z, grid, radius)
    inside = np.flatnonzero((z > state.axis.descent_mm) & (z < heart.lv.apex_mm) & (r < wall) & (wall > 1.0))
    if not inside.size:
        return

    def at(column: NDArray) -> NDArray:
        return np.interp(z[inside], grid, column)

    wall, r = wall[inside], r[inside]
    slope, rate_slope = at(np.gradient(radius, grid)), at(np.gradient(rate, grid))
    flow, s = at(rate), (r / wall) ** 2
    plug = flow / (np.pi * wall**2)
    jet = np.exp(-(z[inside] - state.axis.descent_mm) / _JET_DEPTH_MM)
    remain = np.maximum(1.0 - s, 0.0)
    shape = 1.0 - remain**_JET_POWER - s
    shape_slope = _JET_POWER * remain ** (_JET_POWER - 1.0) - 1.0
    axial = plug * (1.0 + jet * shape_slope)
    swirl_free = -(
        rate_slope * jet * shape + flow * jet * (-2.0 * s * slope / wall * shape_slope - shape / _JET_DEPTH_MM)
    )
    radial = r * (at(radius_rate) + plug * slope) / wall + swirl_free / (2.0 * np.pi * np.maximum(r, 1e-3))
    velocity[inside, 0] = radial * dx[inside] / np.maximum(r, 1e-9)
    velocity[inside, 1] = radial * dy[inside] / np.maximum(r, 1e-9)
    velocity[inside, 2] = axial
