"""Atria and great vessels above the valve plane of a label map that ends there, sized by its own ventricles.

Signed distances on a fine grid in heart coordinates, mm, negative inside. Positions and sizes are those of a normal
adult heart (aortic annulus 23 mm: Davis et al., J Cardiovasc Magn Reson 2014;16:9; atria 45 to 55 mm across, which is
the 21 cm2 that four-chamber views show: Anderson et al., J Cardiovasc Magn Reson 2005;7:671), scaled by the radius of
the LV at its base.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.structures import Structure as S

Grid = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Knot:
    """One cross-section of a tube: level, centre (x, y) and radius, mm."""

    level: float
    x: float
    y: float
    radius: float


def tube(grid: Grid, knots: list[Knot]) -> NDArray[np.float32]:
    """Signed distance to a tube of circular cross-sections along the long axis, closed flat at its ends."""
    x, y, z = grid
    levels = np.array([k.level for k in knots])
    level = z.astype(np.float64)

    def at(values: list[float]) -> NDArray:
        return np.interp(level, levels, values)

    side = np.hypot(x - at([k.x for k in knots]), y - at([k.y for k in knots])) - at([k.radius for k in knots])
    ends = np.maximum(levels[0] - level, level - levels[-1])
    return np.asarray(np.maximum(side, ends), dtype=np.float32)


def ellipsoid(
    grid: Grid, centre: tuple[float, float, float], semi_axes: tuple[float, float, float]
) -> NDArray[np.float32]:
    """About the signed distance to an ellipsoid with axes along x, y, z."""
    terms = [((g - c) / a) ** 2 for g, c, a in zip(grid, centre, semi_axes, strict=True)]
    return np.asarray((np.sqrt(terms[0] + terms[1] + terms[2]) - 1.0) * min(semi_axes), dtype=np.float32)


def base_bodies(
    grid: Grid, basal_radius_mm: float, outflow: tuple[float, float], inlet: tuple[float, float], right_size: float
) -> Iterator[tuple[S, NDArray[np.float32]]]:
    """Lumens first, then the walls around them, in the order in which they take their room.

    Parameters
    ----------
    grid
        Heart coordinates, broadcastable to one 3D shape.
    basal_radius_mm
        LV endocardial radius at the annulus plane.
    outflow, inlet
        (x, y) of the RV's outflow tract and of the tricuspid annulus at the annulus plane.
    right_size
        Size of the right heart relative to normal.
    """
    s = float(np.clip(basal_radius_mm / 23.0, 0.6, 1.4))
    t = float(np.clip(right_size, 0.6, 1.4))
    r = 11.5 * s
    aorta = [
        Knot(-78.0, -14.0 * s, 34.0 * s, 1.25 * r),
        Knot(-45.0, -22.0 * s, 20.0 * s, 1.25 * r),
        Knot(-30.0, -22.0 * s, 14.0 * s, 1.15 * r),
        Knot(-16.0, -19.0 * s, 12.0 * s, 1.38 * r),
        Knot(-5.0, -15.0 * s, 10.0 * s, 1.0 * r),
        Knot(4.0, -11.0 * s, 8.0 * s, 0.95 * r),
    ]
    root = [k for k in aorta if k.level >= -30.0]
    ox, oy = outflow
    q = 12.5 * t
    conus = [Knot(-22.0, ox + 4.0, oy + 2.0, 0.95 * q), Knot(-8.0, ox, oy, 1.05 * q), Knot(6.0, ox, oy - 2.0, 1.1 * q)]
    trunk = [
        Knot(-66.0, ox + 26.0 * s, oy + 2.0, 0.9 * q),
        Knot(-45.0, ox + 18.0 * s, oy + 4.0, 0.95 * q),
        Knot(-22.0, ox + 4.0, oy + 2.0, 0.95 * q),
    ]
    lx, ly = 7.0 * s, -13.0 * s
    left_atrium = np.minimum(
        ellipsoid(grid, (lx, ly, -26.0 * s), (27.0 * s, 22.0 * s, 27.0 * s)),
        tube(
            grid,
            [
                Knot(-22.0, lx, ly, 20.0 * s),
                Knot(-8.0, 6.0 * s, -8.0 * s, 17.0 * s),
                Knot(3.0, 4.0 * s, -4.0 * s, 15.0 * s),
            ],
        ),
    )
    appendage = ellipsoid(grid, (27.0 * s, 15.0 * s, -20.0 * s), (11.0 * s, 13.0 * s, 12.0 * s))
    tx, ty = inlet
    rx, ry = tx - 4.0 * t, ty - 3.0
    right_atrium = np.minimum(
        ellipsoid(grid, (rx, ry, -27.0 * t), (23.0 * t, 26.0 * t, 25.0 * t)),
        tube(grid, [Knot(-20.0, rx, ry, 20.0 * t), Knot(3.0, tx, ty, 17.0 * t)]),
    )
    root_lumen, aorta_lumen = tube(grid, root), tube(grid, aorta)
    trunk_lumen, conus_lumen = tube(grid, trunk), tube(grid, conus)
    z = grid[2]
    yield S.AORTIC_ROOT, root_lumen
    yield S.AORTA, aorta_lumen
    yield S.PULMONARY_ARTERY, trunk_lumen
    yield S.RV_OUTFLOW, conus_lumen
    yield S.VESSEL_WALL, np.maximum(np.minimum(aorta_lumen, trunk_lumen) - 1.6, z + 1.0)
    yield S.RV_MYOCARDIUM, np.maximum(conus_lumen - 3.0, z)
    yield S.LA_BLOOD, left_atrium
    yield S.RA_BLOOD, right_atrium
    yield S.LA_BLOOD, appendage
    yield S.LA_WALL, np.maximum(np.minimum(left_atrium, appendage) - 1.8, z - 4.0)
    yield S.RA_WALL, np.maximum(right_atrium - 1.8, z - 4.0)
