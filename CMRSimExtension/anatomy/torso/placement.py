"""Where the heart lies in the chest, and the sac around it that the torso leaves free for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.errors import InputError

# Direction of the LV long axis, base to apex, in healthy adults by CMR (Engblom et al., Am Heart J 2005;150:507):
# frontal plane 38 +- 10 degrees below the horizontal, transverse plane 46 +- 7 degrees forward of the left-right line.
FRONTAL_ANGLE_DEG = (38.0, 10.0)
TRANSVERSE_ANGLE_DEG = (46.0, 7.0)
ROLL_DEG = (-8.0, 11.0)
"""Rotation about the long axis, positive lowers the RV. Chosen so that the angle between the direction to the RV and
the chest wall in short-axis images spreads over the 20 to 60 degrees seen in ACDC."""

_MAX_TILT_DEG = 65.0


def long_axis_ras(frontal_deg: float, transverse_deg: float) -> NDArray[np.float64]:
    """Unit vector, RAS, base to apex, whose projections make these angles with the right-to-left line."""
    direction = np.array([-1.0, math.tan(math.radians(transverse_deg)), -math.tan(math.radians(frontal_deg))])
    return direction / np.linalg.norm(direction)


def heart_axes(frontal_deg: float, transverse_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """(3, 3): rows are the heart's x, y and z in RAS, for a long axis by its two angles and a roll about it."""
    z = long_axis_ras(frontal_deg, transverse_deg)
    # Anterior wall: anterior and superior in equal parts, which puts the septum where four-chamber views find it.
    up = np.array([0.0, 0.60, 0.80])
    y = up - (up @ z) * z
    y /= np.linalg.norm(y)
    x = np.cross(y, z)
    c, s = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    return np.stack([c * x + s * y, -s * x + c * y, z])


def default_heart_frame(
    parameters: TorsoParameters,
    rng: np.random.Generator | None = None,
    *,
    lv_length_mm: float | None = None,
    frontal_deg: float | None = None,
    transverse_deg: float | None = None,
    roll_deg: float | None = None,
) -> HeartFrame:
    """A realistic position and orientation of the heart in a chest, centred on the RAS origin.

    The midline of the body is at x = 0 and the heart's centre at y = 0, z = 0: the torso is built around the heart, so
    these two are free.

    Parameters
    ----------
    rng
        Draws the angles that are not given from the ranges of Engblom et al. 2005 (cut at two SDs); without it they
        are the means. Obese and short people's hearts lie flatter, which the draw follows.
    lv_length_mm
        Annulus plane to epicardial apex at end diastole; by default 95 mm times the body scale.

    Raises
    ------
    InputError
        If `lv_length_mm` is not positive.
    """
    length = 95.0 * parameters.body_scale if lv_length_mm is None else float(lv_length_mm)
    if not length > 0:
        raise InputError(f"lv_length_mm is {length}; it must be above 0")
    draws = np.zeros(3) if rng is None else np.clip(rng.standard_normal(3), -2.0, 2.0)
    flatter = float(np.clip(12.0 * math.log(parameters.bmi / 24.0), -4.0, 6.0)) if parameters.adult else 0.0
    frontal = FRONTAL_ANGLE_DEG[0] - flatter + 0.9 * FRONTAL_ANGLE_DEG[1] * draws[0]
    transverse = TRANSVERSE_ANGLE_DEG[0] + TRANSVERSE_ANGLE_DEG[1] * draws[1]
    roll = ROLL_DEG[0] + ROLL_DEG[1] * draws[2]
    axes = heart_axes(
        frontal if frontal_deg is None else frontal_deg,
        transverse if transverse_deg is None else transverse_deg,
        roll if roll_deg is None else roll_deg,
    )
    rv = np.array([-0.50, 0.0, 0.45]) * length
    aortic = np.array([-0.22, 0.14, -0.04]) * length
    centre, _ = around_lv(length, 0.61 * length, rv)
    origin = np.array([-parameters.heart_left_mm, 0.0, 0.0]) - centre @ axes
    return HeartFrame(origin, axes, length, rv @ axes + origin, aortic @ axes + origin)


SAC_STEP_MM = 4.0
"""Spacing of the grids on which the sac and what divides the chest are tabulated."""


def around_lv(lv_length_mm: float, radius_mm: float, rv_centre: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """Centre and semi-axes (heart mm) of an ellipsoid that holds ventricles, atria and roots of the great vessels.

    Its volume is that of a ball of `radius_mm`, the LV apex closes it, and it reaches towards `rv_centre` (heart mm).
    """
    semi = radius_mm * np.array([1.0, 0.80, 1.25])
    centre = np.array([0.36 * rv_centre[0], 0.36 * rv_centre[1], lv_length_mm + 0.05 * radius_mm - semi[2]])
    return centre, semi


@dataclass(frozen=True)
class PericardialSac:
    """The space that the heart takes in the chest, on a grid parallel to RAS around its centre.

    Attributes
    ----------
    share
        (n, n, n) float32: 1 inside, 0 outside, smooth across the surface (at one half).
    start_mm
        (3,) position of the first node relative to the heart's centre; nodes are `SAC_STEP_MM` apart.
    centre_ras
        (3,) RAS: the heart's centre.
    """

    share: NDArray[np.float32]
    start_mm: NDArray[np.float64]
    centre_ras: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        frame: HeartFrame,
        radius_mm: float,
        pericardium: Callable[[NDArray[np.float64]], NDArray[np.bool_]] | None = None,
    ) -> "PericardialSac":
        """From the heart's own `pericardium` (RAS points (n, 3) -> inside?), or else an ellipsoid.

        Raises
        ------
        InputError
            If `pericardium` claims no point near the heart, or points at the end of the box that a heart of
            `radius_mm` can fill.
        """
        rv = frame.to_heart(np.asarray(frame.rv_centre_mm, dtype=float)[None])[0]
        centre, semi = around_lv(frame.lv_length_mm, radius_mm, rv)
        centre_ras = frame.to_ras(centre[None])[0]
        # Hearts of unusual proportions need a larger box.
        for reach in (1.9, 2.4, 3.0):
            count = int(np.ceil(reach * radius_mm / SAC_STEP_MM))
            nodes = SAC_STEP_MM * np.arange(-count, count + 1)
            grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3) + centre_ras
            if pericardium is None:
                inside = (((frame.to_heart(grid) - centre) / semi) ** 2).sum(axis=1) < 1.0
            else:
                inside = np.asarray(pericardium(grid), dtype=bool)
            share = inside.reshape((len(nodes),) * 3)
            cut = any(np.take(share, k, axis=axis).any() for axis in range(3) for k in (0, -1))
            if share.any() and not cut:
                break
        else:
            raise InputError(
                f"the pericardium does not fit a heart of heart_radius_mm {radius_mm:.0f} around the heart frame; "
                "give the radius of the ball that has its volume, and RAS points to the function"
            )
        smooth = gaussian_filter(share.astype(np.float32), 0.8)
        return cls(smooth, np.full(3, nodes[0]), centre_ras)

    def extent_mm(self) -> NDArray[np.float64]:
        """(2, 3): lowest and highest coordinates of the sac along x, y, z, relative to the heart's centre."""
        inside = self.share > 0.5
        out = np.empty((2, 3))
        for axis in range(3):
            used = np.flatnonzero(inside.any(axis=tuple(k for k in range(3) if k != axis)))
            out[:, axis] = self.start_mm[axis] + SAC_STEP_MM * (used[[0, -1]] + np.array([-0.5, 0.5]))
        return out

    def surface_mm(self) -> NDArray[np.float64]:
        """(n, 3) nodes just inside the surface, relative to the heart's centre."""
        near = (self.share > 0.5) & (self.share < 0.98)
        return np.argwhere(near) * SAC_STEP_MM + self.start_mm

    def profile(self, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where lines along `axis` enter and leave the sac, relative to its centre; NaN where they miss it.

        The two arrays run over the nodes of the two other axes, in their order.
        """
        share = np.moveaxis(self.share, axis, 0)
        inside = share > 0.5
        hit = inside.any(axis=0)
        ends = []
        for flip in (False, True):
            values = share[::-1] if flip else share
            first = np.argmax(values > 0.5, axis=0)
            at = np.take_along_axis(values, first[None], 0)[0]
            before = np.take_along_axis(values, np.maximum(first - 1, 0)[None], 0)[0]
            place = first - (at - 0.5) / np.maximum(at - before, 1e-3)
            ends.append(len(values) - 1 - place if flip else place)
        low, high = (np.where(hit, self.start_mm[axis] + SAC_STEP_MM * e, np.nan) for e in ends)
        return low, high


def check_orientation(frame: HeartFrame) -> None:
    """Refuse a heart that no chest can be built around.

    Raises
    ------
    InputError
        If the axes are not a right-handed orthonormal frame, or the heart is turned by more than 65 degrees from its
        usual orientation (a label image whose header does not tell the patient's orientation, most often).
    """
    axes = np.asarray(frame.axes, dtype=float)
    if axes.shape != (3, 3) or not np.allclose(axes @ axes.T, np.eye(3), atol=1e-4) or np.linalg.det(axes) < 0:
        raise InputError("heart_frame.axes must be three right-handed orthonormal rows; normalise them")
    usual = heart_axes(FRONTAL_ANGLE_DEG[0], TRANSVERSE_ANGLE_DEG[0], 0.0)
    turn = math.degrees(math.acos(float(np.clip((np.trace(axes @ usual.T) - 1.0) / 2.0, -1.0, 1.0))))
    if turn > _MAX_TILT_DEG:
        raise InputError(
            f"the heart is turned by {turn:.0f} degrees from its usual orientation in the chest, more than "
            f"{_MAX_TILT_DEG:.0f}: the image's orientation is probably nominal; build the torso around "
            "default_heart_frame(...) and map points with its to_ras(frame.to_heart(points))"
        )
