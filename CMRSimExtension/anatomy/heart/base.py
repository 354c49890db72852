"""Atria, great vessels and valves: what lies above and around the valve plane, in material heart coordinates.

Tubes run along the long axis, with a circular cross-section at every level; chambers are lobed ellipsoids. All of it
follows the long-axis map (`levels.LongAxis`), so it descends with the valve plane and its upper end stays put.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.right_ventricle import ATRIAL_WALL_MM, TOP_MM
from CMRSimExtension.anatomy.noise import look_up, periodic_field
from CMRSimExtension.anatomy.structures import Structure

_LOBES_MM, _LOBE_CELLS = 2.4, 9.0
"""Standard deviation of the atria's outline, and the correlation length of their lobes in mm."""


@dataclass(frozen=True)
class Tube:
    """A vessel along the long axis.

    Attributes
    ----------
    levels_mm
        Levels of the knots, rising.
    centres_mm
        (knots, 2) x and y of its axis.
    radii_mm
        (knots,) inner radius.
    wall_mm
        Wall thickness.
    blood
        `Structure` of its lumen at each knot's interval: lumen of [levels_mm[i], levels_mm[i + 1]).
    """

    levels_mm: tuple[float, ...]
    centres_mm: tuple[tuple[float, float], ...]
    radii_mm: tuple[float, ...]
    wall_mm: float
    blood: tuple[Structure, ...]

    def distance(self, x: NDArray, y: NDArray, level: NDArray) -> tuple[NDArray, NDArray]:
        """Distance from the axis within the level, and the inner radius there (below 0 beyond the ends)."""
        centres = np.asarray(self.centres_mm)
        cx = np.interp(level, self.levels_mm, centres[:, 0])
        cy = np.interp(level, self.levels_mm, centres[:, 1])
        radius = np.interp(level, self.levels_mm, self.radii_mm)
        inside = (level >= self.levels_mm[0]) & (level <= self.levels_mm[-1])
        return np.hypot(x - cx, y - cy), np.where(inside, radius, -99.0)

    def lumen(self, level: NDArray) -> NDArray[np.uint8]:
        """Blood `Structure` at each level."""
        place = np.clip(np.searchsorted(self.levels_mm, level, side="right") - 1, 0, len(self.blood) - 1)
        return np.asarray(self.blood, dtype=np.uint8)[place]


@dataclass(frozen=True)
class Chamber:
    """An ellipsoid with lobes: centre and semi-axes (mm, heart coordinates), thickness of wall, structures.

    `seed` picks the lobes: atria bulge round what lies beside them, and no two are alike.
    """

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]
    wall_mm: float
    blood: Structure
    wall: Structure
    seed: int

    def depth(self, x: NDArray, y: NDArray, level: NDArray, grow: float) -> NDArray:
        """Roughly the signed distance (mm) to the inner surface, below 0 inside; `grow` scales x and y."""
        (cx, cy, cz), (ax, ay, az) = self.centre_mm, self.semi_axes_mm
        f = np.sqrt(((x - cx) / (ax * grow)) ** 2 + ((y - cy) / (ay * grow)) ** 2 + ((level - cz) / az) ** 2)
        return (f - 1.0) * min(self.semi_axes_mm) - self.lobes_mm(x, y, level)

    def lobes_mm(self, x: NDArray, y: NDArray, level: NDArray) -> NDArray:
        """How far the outline lies outside a smooth one."""
        return _LOBES_MM * look_up(periodic_field(self.seed % 8, _LOBE_CELLS), x, y, level + float(self.seed))


@dataclass(frozen=True)
class Base:
    """Bodies at the base of one heart.

    Attributes
    ----------
    aorta
        Outflow tract of the LV, aortic root and ascending aorta.
    pulmonary_trunk
        From the pulmonary valve upwards (the RV's outflow tract itself belongs to the RV).
    chambers
        Left atrium, right atrium, atrial appendage.
    inlets
        Short tubes by which the first two chambers reach the mitral and the tricuspid annulus.
    mitral_centre_mm, mitral_radius_mm
        Of the mitral annulus.
    aortic_valve_mm, pulmonary_valve_mm
        (x, y, level) of the valves' centres.
    """

    aorta: Tube
    pulmonary_trunk: Tube
    chambers: tuple[Chamber, ...]
    inlets: tuple[Tube, ...]
    mitral_centre_mm: tuple[float, float]
    mitral_radius_mm: float
    aortic_valve_mm: tuple[float, float, float]
    pulmonary_valve_mm: tuple[float, float, float]

    @staticmethod
    def build(
        p: HeartParameters,
        basal_radius_mm: float,
        outflow: tuple[float, float, float],
        tricuspid: tuple[float, float, float],
    ) -> "Base":
        """Place the bodies around an LV whose endocardial radius at the annulus plane is `basal_radius_mm`.

        `outflow` and `tricuspid` are (x, y, radius) of the RV's outflow tract at the pulmonary valve and of its inlet
        at the tricuspid annulus.
        """
        size = basal_radius_mm / 23.0
        r = p.aortic_radius_mm
        # Aortic annulus at the anteroseptal side; the ascending aorta then climbs along the patient's axis.
        up = p.base_scale
        aorta = Tube(
            (-75.0 * up, -45.0 * up, -30.0 * up, -17.0 * up, -6.0 * up, 0.0, 12.0),
            (
                (-18.0, 36.0),
                (-23.0 * size, 20.0),
                (-24.0 * size, 14.0),
                (-21.5 * size, 12.0 * size),
                (-18.0 * size, 11.0 * size),
                (-16.0 * size, 10.0 * size),
                (-10.5 * size, 7.0 * size),
            ),
            (1.22 * r, 1.22 * r, 1.15 * r, 1.38 * r, 1.02 * r, 0.98 * r, 0.9 * r),
            1.6,
            (
                Structure.AORTA,
                Structure.AORTA,
                Structure.AORTIC_ROOT,
                Structure.AORTIC_ROOT,
                Structure.LV_OUTFLOW,
                Structure.LV_OUTFLOW,
                Structure.LV_OUTFLOW,
            ),
        )
        ox, oy, q = outflow
        trunk = Tube(
            (-20.0 - 42.0 * up, -20.0 - 25.0 * up, -20.0 - 10.0 * up, -20.0),
            ((ox + 26.0, oy + 2.0), (ox + 18.0, oy + 4.0), (ox + 7.0, oy + 3.0), (ox, oy)),
            (0.85 * q, 0.95 * q, 1.0 * q, 0.95 * q),
            1.4,
            (Structure.PULMONARY_ARTERY,) * 3,
        )
        a = p.atrial_scale * size**0.5
        left = Chamber(
            (7.0 * size, -13.0 * size, -17.0 * a),
            (31.0 * a, 26.0 * a, 21.0 * a),
            1.6,
            Structure.LA_BLOOD,
            Structure.LA_WALL,
            p.seed,
        )
        right = Chamber(
            (-47.0 * size**0.5, -13.0, -16.0 * a),
            (28.0 * a, 32.0 * a, 20.0 * a),
            ATRIAL_WALL_MM,
            Structure.RA_BLOOD,
            Structure.RA_WALL,
            p.seed + 11,
        )
        appendage = Chamber(
            (27.0 * size, 15.0 * size, -17.0 * a),
            (11.0 * a, 13.0 * a, 13.0 * a),
            1.4,
            Structure.LA_BLOOD,
            Structure.LA_WALL,
            p.seed + 22,
        )
        # Both inlets widen into their atrium, so that atrium and ventricle meet at the annulus without a step.
        lx, ly = left.centre_mm[:2]
        mitral = Tube(
            (-20.0, -8.0, 0.0),
            ((lx, ly), (0.5 * (lx + 5.0 * size), 0.5 * (ly - 4.5 * size)), (5.0 * size, -4.5 * size)),
            (20.0 * a, 18.0 * size, 16.5 * size),
            2.0,
            (Structure.LA_BLOOD,) * 2,
        )
        rx, ry = right.centre_mm[:2]
        tx, ty, t = tricuspid
        tricuspid_inlet = Tube(
            (-20.0, -10.0, TOP_MM),
            ((rx, ry), (0.5 * (rx + tx), 0.5 * (ry + ty)), (tx, ty)),
            (21.0 * a, 0.5 * (20.0 * a + t), t),
            2.0,
            (Structure.RA_BLOOD,) * 2,
        )
        return Base(
            aorta,
            trunk,
            (left, right, appendage),
            (mitral, tricuspid_inlet),
            (5.0 * size, -4.5 * size),
            15.5 * size,
            (-18.0 * size, 11.0 * size, -6.0 * up),
            (ox, oy, -20.0),
        )
