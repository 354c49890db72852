"""What divides the cavity: the diaphragm, the lower face of the liver, and the mediastinum between the lungs.

Each is a height over a plane, computed once on a grid of 4 mm around the given heart and looked up afterwards: the
diaphragm and the liver's lower face over (x, y), the mediastinal pleurae over (y, z).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import PericardialSac
from CMRSimExtension.anatomy.torso.tables import Table, smooth_noise

_STEP = 4.0
_FAR = 1e4

DIAPHRAGM, DIAPHRAGM_THICKNESS, LIVER_FLOOR = range(3)
"""Channels over (x, y): top of the diaphragm, its thickness along z, lower face of the liver."""
PLEURA_RIGHT, PLEURA_LEFT = range(2)
"""Channels over (y, z): x of the right and left mediastinal pleura."""


def _profile(
    sac: PericardialSac, axes: NDArray[np.floating], centre: NDArray[np.floating], along: int, u: NDArray, v: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest coordinate `along` one axis at which lines over the two others (u, v) cut the ellipsoid.

    NaN where they miss it. The ellipsoid is {p: |B (p - c)| = 1}; a line gives a quadratic.
    """
    b = axes / sac.semi_axes_mm[:, None]
    q = b.T @ b
    others = [k for k in range(3) if k != along]
    du, dv = u - centre[others[0]], v - centre[others[1]]
    qa = q[along, along]
    qb = q[along, others[0]] * du + q[along, others[1]] * dv
    qc = (
        q[others[0], others[0]] * du**2 + 2.0 * q[others[0], others[1]] * du * dv + q[others[1], others[1]] * dv**2 - 1
    )
    root = qb**2 - qa * qc
    with np.errstate(invalid="ignore"):
        half = np.sqrt(root)
    return centre[along] + (-qb - half) / qa, centre[along] + (-qb + half) / qa


def _smooth_minimum(a: NDArray, b: NDArray, width: float) -> NDArray:
    """Minimum with a rounded edge of about `width` mm."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0.0, 1.0)
    return b + (a - b) * h - width * h * (1.0 - h)


@dataclass(frozen=True)
class Compartments:
    """Tables of the dividing surfaces; torso coordinates, mm."""

    floor: Table
    pleurae: Table
    right_dome_mm: float
    left_dome_mm: float

    @classmethod
    def build(
        cls,
        p: TorsoParameters,
        half_width_mm: float,
        half_depth_mm: float,
        spine_front_mm: float,
        sac: PericardialSac,
        axes: NDArray[np.floating],
        sac_centre: NDArray[np.floating],
        rng: np.random.Generator,
    ) -> "Compartments":
        """Around the pericardial sac centred at `sac_centre` in a cavity of the given half axes."""
        s = p.body_scale
        lowest = float(sac_centre[2] - sac.extent_mm(axes)[2])
        right, left = lowest + p.right_dome_mm, lowest + p.left_dome_mm
        floor = cls._floor(p, s, half_width_mm, half_depth_mm, spine_front_mm, sac, axes, sac_centre, right, left, rng)
        pleurae = cls._pleurae(p, s, half_depth_mm, spine_front_mm, sac, axes, sac_centre, rng)
        return cls(floor, pleurae, right, left)

    @staticmethod
    def _floor(
        p: TorsoParameters,
        s: float,
        a: float,
        b: float,
        spine_front: float,
        sac: PericardialSac,
        axes: NDArray[np.floating],
        centre: NDArray[np.floating],
        right: float,
        left: float,
        rng: np.random.Generator,
    ) -> Table:
        x = np.arange(-1.15 * a, 1.15 * a + _STEP, _STEP)[:, None]
        y = np.arange(-1.15 * b, 1.15 * b + _STEP, _STEP)[None, :]
        shape = (x.shape[0], y.shape[1])
        side = 0.5 + 0.5 * np.tanh(x / (22.0 * s))
        top = left + (right - left) * side
        # Two domes: the tops lie half way out and slightly forward, the muscle falls steeply to its origins, farther
        # at the back than at the front.
        out_x = (np.abs(x) - 0.50 * a) / np.where(np.abs(x) > 0.50 * a, 0.52 * a, 0.95 * a)
        out_y = (y - 0.12 * b) / np.where(y > 0.12 * b, 0.93 * b, 1.15 * b)
        rho = np.hypot(out_x, out_y)
        fall = s * (np.where(y > 0, 52.0, 88.0) * np.clip(rho, 0, 1.4) ** 3.2 + 12.0 * np.clip(rho, 0, 1.4) ** 2)
        dome = top - fall + 4.0 * s * smooth_noise(rng, shape, (6, 6))
        under, _ = _profile(sac, axes, centre, 2, x, y)
        lowest = float(np.nanmin(under))
        # Around the heart the diaphragm is its bed: held up to it from below, pressed down beneath it.
        d2 = ((x - centre[0]) / (0.75 * a)) ** 2 + ((y - centre[1]) / (0.9 * b)) ** 2
        bed = np.where(np.isnan(under), _FAR, under - 2.5)
        dome = np.maximum(dome, lowest - 4.0 - 70.0 * s * d2**1.5)
        diaphragm = np.where(np.isnan(under), dome, np.minimum(dome, bed))
        diaphragm = np.where(np.isnan(under), dome, _smooth_minimum(dome, bed, 6.0))
        diaphragm = np.minimum(diaphragm, dome)
        gx, gy = np.gradient(diaphragm, _STEP)
        thick = np.clip(2.6 * s**0.4 * np.sqrt(1.0 + gx**2 + gy**2), 2.0, 14.0)
        # Liver: thick at the right, a wedge towards the left, leaving the back left of the spine and the stomach free.
        t = (x + p.liver_left_mm) / (0.80 * a + p.liver_left_mm)
        span = p.liver_span_mm * np.clip(t, -0.5, 1.0) ** np.where(t > 0, 0.75, 1.0)
        span = np.where(t > 0, np.abs(span), -60.0 * s)
        front = np.clip((y - (spine_front + 8.0 * s)) / (45.0 * s), 0.0, 1.0)
        behind = 1.0 - front
        span = span - behind * 150.0 * s * np.clip((22.0 * s - x) / (55.0 * s), 0.0, 1.0)
        span -= 22.0 * s * np.clip((y - 0.25 * b) / (0.75 * b), 0.0, 1.0) * side
        span += 7.0 * s * smooth_noise(rng, shape, (5, 5))
        liver = np.maximum(right - span, right - p.liver_span_mm)
        # The lobe ends in an edge, not a cliff.
        return Table.of(np.stack([diaphragm, thick, liver], -1), (float(x[0, 0]), float(y[0, 0])), (_STEP, _STEP))

    @staticmethod
    def _pleurae(
        p: TorsoParameters,
        s: float,
        b: float,
        spine_front: float,
        sac: PericardialSac,
        axes: NDArray[np.floating],
        centre: NDArray[np.floating],
        rng: np.random.Generator,
    ) -> Table:
        y = np.arange(-1.15 * b, 1.15 * b + _STEP, _STEP)[:, None]
        z = np.arange(-130.0 * s, 200.0 * s, _STEP)[None, :]
        t = z / s
        shape = (y.shape[0], z.shape[1])
        back = 1.0 / (1.0 + np.exp((y - (spine_front + 26.0 * s)) / (5.0 * s)))
        front = 1.0 / (1.0 + np.exp(-(y - 0.50 * b) / (6.0 * s)))
        middle = np.clip(1.0 - back - front, 0.0, 1.0)
        upper = np.clip((t - 70.0) / 40.0, 0.0, 1.0)
        below = np.clip(-t / 40.0, 0.0, 1.0)
        right = s * (back * (14.0 + 8.0 * upper) + middle * (34.0 - 8.0 * upper - 10.0 * below) + front * (6.0 + 8.0 * upper))
        left = s * (back * 33.0 + middle * (32.0 - 4.0 * upper - 14.0 * below) + front * (7.0 + 6.0 * upper))
        right = right * (1.0 + 0.06 * smooth_noise(rng, shape, (5, 5)))
        left = left * (1.0 + 0.06 * smooth_noise(rng, shape, (5, 5)))
        low, high = _profile(sac, axes, centre, 0, y, z)
        # Pads of fat at the angles between heart and diaphragm, thicker on the right.
        bottom = float(centre[2] - sac.extent_mm(axes)[2])
        pad = np.exp(-np.clip((z - bottom) / (22.0 * s), 0.0, None) ** 2) * (0.3 + p.visceral_fat) * s
        right = np.where(np.isnan(high), right, np.maximum(right, high + 1.5 + 9.0 * pad))
        left = np.where(np.isnan(low), left, np.maximum(left, -low + 1.5 + 6.0 * pad))
        return Table.of(np.stack([right, -left], -1), (float(y[0, 0]), float(z[0, 0])), (_STEP, _STEP))
