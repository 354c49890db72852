"""Which points belong to the LV, and the motion of its wall in closed form, both ways."""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.base import Base
from CMRSimExtension.anatomy.heart.state import (
    CAVITY,
    CONTOUR,
    ENDO,
    EPI,
    REST_CAVITY,
    REST_ENDO,
    HeartState,
    Points,
)
from CMRSimExtension.anatomy.heart.timing import CardiacTiming
from CMRSimExtension.anatomy.heart.trabeculae import is_lining, lining_share
from CMRSimExtension.anatomy.heart.valves import mitral_leaflets
from CMRSimExtension.anatomy.heart.ventricle import ANGLES, LeftVentricle
from CMRSimExtension.anatomy.noise import look_up, periodic_field
from CMRSimExtension.anatomy.structures import Structure

EPICARDIAL_RIM_MM = 1.2
"""Muscle at end diastole outside the contour that readers draw: they stay within the dark line that fat and water make
where they meet, and that line lies within the muscle. Chosen so that intensities across the contour run as across those
of the ACDC readers. The clinical mass, and what is asked for, end at the contour."""

_OPENING_MM = 12.0
"""Over this distance the cavity and the outflow tract run into each other."""
_LINING_STARTS_MM = 8.0
"""Over this distance below the outflow tract the lining sets in."""
_RIPPLE_MM = 0.9
"""SD of the mitral leaflets' fine ripples, about the distance of the levels at which a slice is sampled."""


def claim_left_ventricle(q: Points, state: HeartState, lv: LeftVentricle, base: Base, timing: CardiacTiming) -> None:
    """Classify the points that lie in the LV, from its cavity to its epicardium."""
    p = lv.parameters
    index = np.flatnonzero((q.level >= 0.0) & (q.level <= lv.apex_mm))
    if not index.size:
        return
    index, level, squared, theta, bend = _around_axis(q, index, 0.0, state, lv)
    radii = shell_radii(level, theta, state, lv)
    inside = squared <= radii[:, EPI]
    index, level, squared, radii, theta, bend = (
        index[inside], level[inside], squared[inside], radii[inside], theta[inside], bend[inside]
    )  # fmt: skip
    stretch = state.axis.stretch
    endo, cavity = radii[:, ENDO], radii[:, CAVITY]
    in_wall, in_pool = squared >= endo, squared < cavity
    rest_wall = radii[:, REST_ENDO] + (squared - endo) * stretch
    in_layer = radii[:, REST_CAVITY] + (squared - cavity) * (
        (radii[:, REST_ENDO] - radii[:, REST_CAVITY]) / np.maximum(endo - cavity, 1e-9)
    )
    pool = squared * (radii[:, REST_CAVITY] / np.maximum(cavity, 1e-9))
    rest_radius = np.sqrt(np.where(in_wall, rest_wall, np.where(in_pool, pool, in_layer)))
    rest_x, rest_y = rest_radius * np.cos(theta), rest_radius * np.sin(theta)

    structure = np.full(len(index), Structure.LV_BLOOD, np.uint8)
    structure[in_wall] = Structure.LV_MYOCARDIUM
    layer = np.flatnonzero(~in_wall & ~in_pool)
    depth = (squared[layer] - cavity[layer]) / np.maximum(endo[layer] - cavity[layer], 1e-9)
    below_tract = np.clip((level[layer] - lv.notch_mm(theta[layer])) / _LINING_STARTS_MM, 0.0, 1.0)
    share = lining_share(depth, state.muscle_share) * below_tract
    # Bundles that a small cavity presses together are no longer seen apart.
    pressed = np.sqrt(endo[layer] / np.maximum(radii[layer, REST_ENDO], 1e-6))
    coarseness = p.trabecular_coarseness * np.clip(1.7 * pressed - 0.5, 0.0, 1.0)
    strands = is_lining(rest_x[layer], rest_y[layer], level[layer], share, p.seed, coarseness)
    structure[layer[strands]] = Structure.LV_TRABECULAE
    blood = np.flatnonzero(structure == Structure.LV_BLOOD)
    muscle = state.papillaries.contain(np.sqrt(squared[blood]), theta[blood], level[blood], p.seed)
    structure[blood[muscle]] = Structure.LV_PAPILLARY
    clinical = np.where(squared < radii[:, CONTOUR], 1, 2).astype(np.uint8)

    # Above the notch the wall gives way to the outflow tract.
    notched = np.flatnonzero(in_wall & (level < p.notch_mm))
    cut = notched[level[notched] < lv.notch_mm(theta[notched])]
    structure[cut] = Structure.VESSEL_WALL
    clinical[cut] = 0
    radius, lumen = base.aorta.distance(q.x[index[cut]], q.y[index[cut]], level[cut])
    # The cavity opens into the tract without a corner (a polynomial smooth union of the two).
    from_tract, from_cavity = radius - lumen, np.sqrt(squared[cut]) - np.sqrt(endo[cut])
    nearer = np.clip(0.5 + 0.5 * (from_tract - from_cavity) / _OPENING_MM, 0.0, 1.0)
    depth = from_tract + (from_cavity - from_tract) * nearer - _OPENING_MM * nearer * (1.0 - nearer)
    structure[cut[depth < 0.0]] = Structure.LV_OUTFLOW

    shallow = np.flatnonzero((structure == Structure.LV_BLOOD) & (level < 30.0))
    x, y = q.x[index[shallow]], q.y[index[shallow]]
    # Without ripples the few levels at which a slice is sampled draw a shallow cone as so many rings.
    ripples = look_up(periodic_field(p.seed % 8, 1.2), x / 0.3, y / 0.3, level[shallow] / 0.3)
    rippled = level[shallow] + _RIPPLE_MM * ripples
    leaflet = mitral_leaflets(x, y, rippled, base, timing, state.phase)
    structure[shallow[leaflet]] = Structure.MITRAL_VALVE
    q.structure[index], q.clinical[index] = structure, clinical
    q.rest_x[index], q.rest_y[index] = rest_x + bend[:, 0], rest_y + bend[:, 1]
    q.open[index] = False


def _around_axis(
    q: Points, index: NDArray[np.intp], beyond_mm: float, state: HeartState, lv: LeftVentricle
) -> tuple[NDArray[np.intp], NDArray, NDArray, NDArray, NDArray]:
    """Those of the points `index` that lie within the widest epicardium and `beyond_mm` around it.

    Returns
    -------
    tuple
        Their indices (n,), levels (n,) mm, squared distances from the LV axis (n,) mm2, material angles (n,) rad, and
        x and y of the axis (n, 2) mm.
    """
    level = q.level[index]
    centre = lv.centre_mm(level).astype(level.dtype)
    dx, dy = q.x[index] - centre[:, 0], q.y[index] - centre[:, 1]
    squared = dx * dx + dy * dy
    close = squared <= (np.sqrt(state.shells[..., EPI].max()) + beyond_mm) ** 2
    index, level, dx, dy, squared, centre = (v[close] for v in (index, level, dx, dy, squared, centre))
    theta = np.arctan2(dy, dx) - lv.twist_rad(level, state.twist).astype(level.dtype)
    return index, level, squared, theta, centre


def claim_epicardial_rim(q: Points, state: HeartState, lv: LeftVentricle) -> None:
    """Classify the open points of the wall's outermost layer, which is muscle but lies outside readers' contours."""
    index = np.flatnonzero(q.open & (q.level >= 0.0) & (q.level <= lv.apex_mm))
    if not index.size:
        return
    index, level, squared, theta, bend = _around_axis(q, index, 2.0 * EPICARDIAL_RIM_MM, state, lv)
    radii = shell_radii(level, theta, state, lv)
    rest = radii[:, REST_ENDO] + (squared - radii[:, ENDO]) * state.axis.stretch
    # Towards the tip the tables run out of wall and their squares below zero.
    edge = np.sqrt(np.maximum(radii[:, REST_ENDO] + (radii[:, EPI] - radii[:, ENDO]) * state.axis.stretch, 0.0))
    rim = (rest < (edge + EPICARDIAL_RIM_MM) ** 2) & (level >= lv.notch_mm(theta))
    index, radius, theta, bend = index[rim], np.sqrt(np.maximum(rest[rim], 0.0)), theta[rim], bend[rim]
    q.structure[index] = Structure.LV_MYOCARDIUM
    q.rest_x[index], q.rest_y[index] = radius * np.cos(theta) + bend[:, 0], radius * np.sin(theta) + bend[:, 1]
    q.open[index] = False


def shell_radii(level: NDArray, theta: NDArray, state: HeartState, lv: LeftVentricle) -> NDArray:
    """(n, 6) squared radii at material level and angle, bilinear."""
    rows = level * (1.0 / lv.levels_mm[1])
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


def wall_at_rest(present_mm: NDArray, state: HeartState, lv: LeftVentricle) -> NDArray[np.float64]:
    """Material position (n, 3) of LV wall now at `present_mm`, both in heart coordinates: the inverse of `wall_now`."""
    level = state.axis.inverse(present_mm[:, 2])
    centre = lv.centre_mm(level)
    dx, dy = present_mm[:, 0] - centre[:, 0], present_mm[:, 1] - centre[:, 1]
    theta = np.arctan2(dy, dx) - lv.twist_rad(level, state.twist)
    radii = shell_radii(level, theta, state, lv)
    squared = radii[:, REST_ENDO] + (dx * dx + dy * dy - radii[:, ENDO]) * state.axis.stretch
    radius = np.sqrt(squared)
    x, y = radius * np.cos(theta) + centre[:, 0], radius * np.sin(theta) + centre[:, 1]
    return np.stack([x, y, level], axis=1)


def wall_now(rest_mm: NDArray, state: HeartState, lv: LeftVentricle) -> NDArray[np.float64]:
    """Present position (n, 3) of LV wall whose material position is `rest_mm`, both in heart coordinates.

    r^2 - r_endo^2 = (R^2 - R_endo^2) / lambda, theta = Theta + tau(Z), z = z(Z): volume is kept exactly.
    """
    level = rest_mm[:, 2]
    centre = lv.centre_mm(level)
    dx, dy = rest_mm[:, 0] - centre[:, 0], rest_mm[:, 1] - centre[:, 1]
    theta = np.arctan2(dy, dx)
    radii = shell_radii(level, theta, state, lv)
    squared = radii[:, ENDO] + (dx * dx + dy * dy - radii[:, REST_ENDO]) / state.axis.stretch
    radius = np.sqrt(squared)
    turned = theta + lv.twist_rad(level, state.twist)
    x, y = radius * np.cos(turned) + centre[:, 0], radius * np.sin(turned) + centre[:, 1]
    return np.stack([x, y, state.axis.forward(level)], axis=1)
