"""Which points belong to the great vessels and the atria."""

import numpy as np

from CMRSimExtension.anatomy.heart.base import Base
from CMRSimExtension.anatomy.heart.state import HeartState, Points
from CMRSimExtension.anatomy.heart.valves import semilunar_cusps
from CMRSimExtension.anatomy.structures import Structure


def claim_great_vessels(q: Points, base: Base) -> None:
    """Classify the open points in the aorta and the pulmonary trunk."""
    for tube, valve, valve_structure in (
        (base.aorta, base.aortic_valve_mm, Structure.AORTIC_VALVE),
        (base.pulmonary_trunk, base.pulmonary_valve_mm, Structure.PULMONARY_VALVE),
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


def claim_atria(q: Points, base: Base, state: HeartState) -> None:
    """Classify the open points in the atria, their walls and their inlets."""
    index = np.flatnonzero(q.open & (q.level < 8.0) & (q.level > -70.0))
    if not index.size:
        return
    x, y, level = q.x[index], q.y[index], q.level[index]
    structure = np.zeros(len(index), np.uint8)
    rest_x, rest_y = x.copy(), y.copy()
    inlets = dict(enumerate(base.inlets))
    for number, chamber in enumerate(base.chambers):
        depth = chamber.depth(x, y, level, state.atrial_growth)
        if number in inlets:
            distance, radius = inlets[number].distance(x, y, level)
            # Down at the annulus the inlet is round.
            lobed = np.clip(-level / 12.0, 0.0, 1.0) * chamber.lobes_mm(x, y, level)
            depth = np.minimum(depth, distance - radius - lobed)
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
