"""Which points belong to the RV, its trabeculae and its wall."""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.left_side import shell_radii
from CMRSimExtension.anatomy.heart.right_ventricle import (
    ATRIAL_WALL_MM,
    OUTFLOW_END_MM,
    PULMONARY_VALVE_MM,
    TOP_MM,
    RightVentricle,
    merged_depth,
    outline_radius,
)
from CMRSimExtension.anatomy.heart.state import EPI, HeartState, Points
from CMRSimExtension.anatomy.heart.timing import CardiacTiming
from CMRSimExtension.anatomy.heart.trabeculae import is_band, is_lining, strand_share
from CMRSimExtension.anatomy.heart.valves import mitral_opening
from CMRSimExtension.anatomy.structures import Structure

_WALL_ENDS_MM = 6.0
"""The free wall thins towards the apex, to nothing this far below it."""
_FREE_WALL_LAYER_MM, _SEPTAL_LAYER_MM = (2.5, 4.0), (1.5, 1.5)
"""Thickness of the trabeculated layers at the base, and by how much they are thicker at the apex."""
_CROSSING = 0.5
"""At the apex the chamber's middle is as trabeculated as this place in a layer (0 its edge, 1 the wall)."""
_COARSENESS = 0.55
"""Of the layers' strands (`trabeculae.is_lining`)."""
_COMPACTED = 0.82
"""Largest share of muscle in the layers as the chamber empties."""
_BANDS_MM, _BAND_SHARE = (6.0, 12.0), 0.25
"""How far from the free wall bands reach at the base, by how much farther at the apex, and the share of muscle there
over `rv_trabeculation`."""
_INLET = (Structure.RV_BLOOD, Structure.RA_BLOOD)
"""What the tricuspid valve parts."""


def claim_right_ventricle(q: Points, state: HeartState, rv: RightVentricle, timing: CardiacTiming) -> None:
    """Classify the open points that lie in the RV or its wall, up to the pulmonary valve."""
    p = rv.parameters
    index = np.flatnonzero(
        q.open & (q.level > PULMONARY_VALVE_MM) & (q.level < rv.apex_mm + _WALL_ENDS_MM) & (q.x < 26.0)
    )
    if not index.size:
        return
    x, y, level = q.x[index], q.y[index], q.level[index]
    now = state.right.now(level)
    rho, edge = outline_radius(x - now[:, 0], y - now[:, 1], now[:, 2], now[:, 3], p.rv_triangularity, rv.axis_rad)
    distance = np.hypot(x - now[:, 4], y - now[:, 5])
    depth = merged_depth(rho - edge, distance - now[:, 6], level)
    # Below its apex outlines have no meaning any more.
    depth = np.maximum(depth, level - rv.apex_mm)
    # The wall thickens as its cavity empties and shortens, at constant volume.
    stretch = state.axis.stretch
    size = np.maximum(np.where(rho - edge < distance - now[:, 6], edge, now[:, 6]), 4.0)
    wall = p.rv_wall_mm * np.clip((rv.apex_mm + _WALL_ENDS_MM - level) / 14.0, 0.0, 1.0)
    wall = np.sqrt(size * size + wall * (2.0 * size + wall) / np.where(level < 0, 1.0, stretch)) - size
    keep = depth < wall
    index, level, x, y, now, depth = index[keep], level[keep], x[keep], y[keep], now[keep], depth[keep]
    rho, edge, distance = rho[keep], edge[keep], distance[keep]
    blood = depth < 0.0
    of_body = (level > OUTFLOW_END_MM) | ((level >= TOP_MM) & (rho - edge < distance - now[:, 6]))

    rest = state.right.rest(level)
    dx, dy = x - now[:, 0], y - now[:, 1]
    edge_rest = outline_radius(dx, dy, rest[:, 2], rest[:, 3], p.rv_triangularity, rv.axis_rad)[1]
    scale = _rest_scale(rho, edge, edge_rest, blood, stretch)
    tube_scale = _rest_scale(distance, now[:, 6], rest[:, 6], blood, stretch)
    q.rest_x[index] = np.where(of_body, rest[:, 0] + dx * scale, rest[:, 4] + (x - now[:, 4]) * tube_scale)
    q.rest_y[index] = np.where(of_body, rest[:, 1] + dy * scale, rest[:, 5] + (y - now[:, 5]) * tube_scale)

    structure = np.where(blood, np.uint8(Structure.RV_BLOOD), np.uint8(Structure.RV_MYOCARDIUM)).astype(np.uint8)
    structure[blood & (level < 0.0) & ~of_body] = Structure.RV_OUTFLOW
    # What lies above the tricuspid annulus beside the outflow tract is atrium by now.
    top = rv.top_mm(state.ejection)
    atrial = of_body & (merged_depth(rho - edge, distance - now[:, 6], level, top) >= 0.0) & (level < top)
    structure[atrial] = np.where(blood[atrial], Structure.RA_BLOOD, Structure.RA_WALL)
    # Where the outflow tract passes the atrium each keeps its own wall.
    apart = distance - now[:, 6]
    structure[atrial & (apart < p.rv_wall_mm + ATRIAL_WALL_MM)] = Structure.RA_WALL
    structure[atrial & (apart < p.rv_wall_mm)] = Structure.RV_MYOCARDIUM
    leaflet = of_body & np.isin(structure, _INLET) & (np.abs(level - top) < 0.7)
    if mitral_opening(timing, state.phase) < 0.3:
        structure[leaflet] = Structure.TRICUSPID_VALVE
    clinical = np.where(blood & ~atrial & (level >= top - p.rv_outflow_labelled_mm), 3, 0).astype(np.uint8)
    chamber = np.flatnonzero(blood & ~atrial & (level > 0.0))
    strands = _trabeculae(q, index[chamber], depth[chamber], state, rv)
    structure[chamber[strands]] = Structure.RV_TRABECULAE
    start, end = state.band
    along = end - start
    from_start = np.stack([x, y, level], axis=1) - start
    place = np.clip(from_start @ along / max(float(along @ along), 1e-6), 0.0, 1.0)
    off = np.linalg.norm(from_start - place[:, None] * along, axis=1)
    structure[blood & (off < 1.9)] = Structure.MODERATOR_BAND
    q.structure[index], q.clinical[index] = structure, clinical
    q.open[index] = False


def _trabeculae(
    q: Points, chamber: NDArray[np.intp], depth: NDArray, state: HeartState, rv: RightVentricle
) -> NDArray[np.bool_]:
    """Which points of the chamber (indices into `q`, `depth` below its outline) are trabecular muscle.

    A layer lines the free wall and a thinner one the septum; both thicken towards the apex, where strands and bands
    cross the whole chamber. As the chamber empties its lining shrinks with the 2/3 power of the volume; the layers keep
    their thickness and the strands their volume, so they crowd.
    """
    p, lv, level = rv.parameters, rv.lv, q.level[chamber]
    share = np.clip(level / rv.apex_mm, 0.0, 1.0)
    centre = lv.centre_mm(level)
    dx, dy = q.x[chamber] - centre[:, 0], q.y[chamber] - centre[:, 1]
    theta = np.arctan2(dy, dx) - lv.twist_rad(level, state.twist)
    off_septum = np.hypot(dx, dy) - np.sqrt(np.maximum(shell_radii(level, theta, state, lv)[:, EPI], 0.0))
    # 1 at the wall that is nearer, 0 where its layer ends.
    at_free_wall = 1.0 + depth / (_FREE_WALL_LAYER_MM[0] + _FREE_WALL_LAYER_MM[1] * share)
    at_septum = 1.0 - off_septum / (_SEPTAL_LAYER_MM[0] + _SEPTAL_LAYER_MM[1] * share)
    place = np.maximum(np.maximum(at_free_wall, at_septum), _CROSSING * share**2)
    layer = np.flatnonzero(place > 0.0)
    left = 1.0 - state.ejection * (1.0 - p.rv_esv_ml / p.rv_edv_ml)
    dense = np.minimum(p.rv_trabeculation * (0.8 - 0.25 * share[layer]) * left ** (-2.0 / 3.0), _COMPACTED)
    points, muscle = chamber[layer], strand_share(place[layer], dense)
    result = np.zeros(len(chamber), dtype=bool)
    x, y = q.rest_x[points], q.rest_y[points]
    result[layer] = is_lining(x, y, level[layer], muscle, p.seed + 1, _COARSENESS)
    # A few bands leave the layer and cross the chamber; most are near the apex.
    wide = np.flatnonzero(1.0 + depth / (_BANDS_MM[0] + _BANDS_MM[1] * share) > 0.0)
    points = chamber[wide]
    bands = np.full(len(points), _BAND_SHARE * p.rv_trabeculation)
    result[wide] |= is_band(q.rest_x[points], q.rest_y[points], level[wide], bands, p.seed + 1)
    return result


def _rest_scale(radius: NDArray, edge: NDArray, edge_rest: NDArray, blood: NDArray, stretch: float) -> NDArray:
    """Factor from present to rest offset: linear in the blood, volume-preserving in the wall."""
    wall = np.sqrt(np.maximum(edge_rest**2 + (radius**2 - edge**2) * stretch, 0.0)) / np.maximum(radius, 1e-6)
    return np.where(blood, edge_rest / np.maximum(edge, 1e-6), wall)
