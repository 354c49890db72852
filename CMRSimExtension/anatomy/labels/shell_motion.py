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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.labels.shell_map import ShellMap, ShellTables, ramp

_ROOF_MM = 58.0
"""Above the annulus plane the descent of the base fades out over this distance."""


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


class ShellMotion(ShellMap):
    """The map between the label map's moment and one other moment, both ways.

    Parameters
    ----------
    tables
        Shells measured on the label map.
    state
        Contraction at the other moment.
    """

    def __init__(self, tables: ShellTables, state: Contraction) -> None:
        self.state = state
        level = tables.levels_mm
        # f(Z) is straight above the roof, to the base, to the apex, and beyond; smoothing the slope rounds the corners.
        slope = np.ones_like(level)
        ventricles = (level > tables.base_mm) & (level < tables.apex_mm)
        slope[ventricles] = state.stretch
        roof = (level > tables.base_mm - _ROOF_MM) & (level <= tables.base_mm)
        slope[roof] += (1.0 - state.stretch) * ventricles.sum() / roof.sum()
        slope = ndimage.gaussian_filter1d(slope, 4.0 / tables.step_mm, mode="nearest")
        moved = np.concatenate([[0.0], np.cumsum(0.5 * (slope[1:] + slope[:-1]) * tables.step_mm)])
        moved += level[-1] - moved[-1]
        # Pools empty below the annulus plane; the atria above keep their width and are stretched by the descent.
        ventricular = ramp(level, tables.base_mm - 14.0, tables.base_mm + 4.0)
        self._areas = 1.0 + (np.array([[state.rv_area], [state.lv_area]]) - 1.0) * ventricular
        rv, lv = self._areas[:, :, None]
        stretch = slope[:, None]
        endo = tables.endo * lv
        epi = endo + (tables.epi - tables.endo) / stretch
        free = epi + (tables.free - tables.epi) * rv
        outer = free + (tables.outer - tables.free) / stretch
        share = np.clip((level - tables.base_mm) / (tables.apex_mm - tables.base_mm), 0.0, 1.0)
        # The base turns back by a third of the difference (Weiner et al., Circ Cardiovasc Imaging 2010;3:672).
        below = 1.0 - ramp(level, tables.apex_mm, tables.apex_mm + 12.0)
        fade = ramp(level, tables.base_mm - 30.0, tables.base_mm) * below
        twist = state.twist_rad * (share - 0.33) * fade
        super().__init__(tables, moved, (endo, epi, free, outer), twist, identity=state.is_rest)

    def pool_jacobian(self, left: bool) -> NDArray[np.float64]:
        """(levels,) present volume over volume in the label map of the LV's (or RV's) pool, by material level."""
        return self._areas[int(left)] * self._slope
