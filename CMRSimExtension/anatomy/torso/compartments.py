"""What divides the cavity: the diaphragm, the lower face of the liver, and the mediastinum between the lungs.

Each is a height over a plane, computed once on a grid of 4 mm around the given heart and looked up afterwards: the
diaphragm and the liver's lower face over (x, y), the mediastinal pleurae over (y, z).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import SAC_STEP_MM, PericardialSac
from CMRSimExtension.anatomy.torso.tables import Table, smooth_noise

_STEP = SAC_STEP_MM
_FAR = 1e4
_ATTACHED_MM = 14.0
"""Heart and diaphragm that are closer than this are grown together."""

DIAPHRAGM, DIAPHRAGM_THICKNESS, LIVER_FLOOR, LUNG_FLOOR = range(4)
"""Channels over (x, y): top of the diaphragm, its thickness along z, lower face of the liver, and the height below
which no lung reaches: the diaphragm's, but beneath the heart, which is grown to it, the heart's."""
PLEURA_RIGHT, PLEURA_LEFT = range(2)
"""Channels over (y, z): x of the right and left mediastinal pleura."""


def _nodes(low: float, high: float, through: float) -> NDArray[np.float64]:
    """Grid coordinates from about `low` to `high` of which one is `through`."""
    first = through - _STEP * np.ceil((through - low) / _STEP)
    return first + _STEP * np.arange(int(np.ceil((high - first) / _STEP)) + 1)


def _spread(profile: NDArray, starts: tuple[float, float], u: NDArray, v: NDArray) -> NDArray:
    """A profile of the sac copied to the nodes u, v of a larger (or cut) grid that shares its nodes; else NaN."""
    out = np.full((len(u), len(v)), np.nan)
    i, j = (np.rint((nodes - start) / _STEP).astype(int) for nodes, start in ((u, starts[0]), (v, starts[1])))
    ok_i, ok_j = (i >= 0) & (i < profile.shape[0]), (j >= 0) & (j < profile.shape[1])
    out[np.ix_(ok_i, ok_j)] = profile[np.ix_(i[ok_i], j[ok_j])]
    return out


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
        centre: NDArray[np.floating],
        rng: np.random.Generator,
    ) -> "Compartments":
        """Around the pericardial sac centred at `centre` in a cavity of the given half axes."""
        s = p.body_scale
        lowest = float(centre[2] + sac.extent_mm()[0, 2])
        right, left = lowest + p.right_dome_mm, lowest + p.left_dome_mm
        floor = cls._floor(p, s, half_width_mm, half_depth_mm, spine_front_mm, sac, centre, right, left, rng)
        pleurae = cls._pleurae(p, s, half_depth_mm, spine_front_mm, sac, centre, rng)
        return cls(floor, pleurae, right, left)

    @staticmethod
    def _floor(
        p: TorsoParameters,
        s: float,
        a: float,
        b: float,
        spine_front: float,
        sac: PericardialSac,
        centre: NDArray[np.floating],
        right: float,
        left: float,
        rng: np.random.Generator,
    ) -> Table:
        x = _nodes(-1.15 * a, 1.15 * a, centre[0])[:, None]
        y = _nodes(-1.15 * b, 1.15 * b, centre[1])[None, :]
        shape = (x.shape[0], y.shape[1])
        side = 0.5 + 0.5 * np.tanh(x / (22.0 * s))
        top = left + (right - left) * side
        # Two domes: the tops lie half way out, the muscle falls steeply to its origins, farther
        # at the back than at the front.
        out_x = (np.abs(x) - 0.50 * a) / np.where(np.abs(x) > 0.50 * a, 0.52 * a, 0.95 * a)
        out_y = y / np.where(y > 0, 1.05 * b, 1.2 * b)
        rho = np.hypot(out_x, out_y)
        fall = s * (np.where(y > 0, 52.0, 88.0) * np.clip(rho, 0, 1.4) ** 3.2 + 12.0 * np.clip(rho, 0, 1.4) ** 2)
        dome = top - fall + 4.0 * s * smooth_noise(rng, shape, (6, 6))
        starts = (centre[0] + sac.start_mm[0], centre[1] + sac.start_mm[1])
        under = _spread(sac.profile(2)[0], starts, x[:, 0], y[0]) + centre[2]
        lowest = float(np.nanmin(under))
        # Around the heart the diaphragm is its bed: held up to it from below, pressed down beneath it.
        d2 = ((x - centre[0]) / (0.75 * a)) ** 2 + ((y - centre[1]) / (0.9 * b)) ** 2
        bed = np.where(np.isnan(under), _FAR, under - 1.5)
        # Beside the heart the bed goes on level for one cell, so that nothing between two nodes cuts into the sac, and
        # then gives way upwards.
        for rise in (0.0, 1.5, 2.0, 3.0, 4.0):
            bed = np.minimum(bed, minimum_filter(bed, 3) + rise * _STEP)
        dome = np.maximum(dome, lowest - 4.0 - 70.0 * s * d2**1.5)
        diaphragm = _smooth_minimum(dome, bed, 14.0)
        # The heart is grown to the diaphragm: where they are close they touch, and a wedge of fat closes the rim.
        gap = under - diaphragm
        attached = gap < _ATTACHED_MM * s  # False where there is no heart above
        wedge = np.clip(3.0 * gap - 2.0 * _ATTACHED_MM * s, 0.0, None)
        diaphragm = np.where(attached, under - 1.0 - wedge, diaphragm)
        lung = np.where(attached, under, diaphragm)
        gx, gy = np.gradient(diaphragm, _STEP)
        # The middle, under the heart, is a thin tendon.
        thick = np.clip(np.where(attached, 1.4, 2.6) * s**0.4 * np.sqrt(1.0 + gx**2 + gy**2), 1.0, 14.0)
        # Liver: thick at the right, a wedge towards the left, leaving the back left of the spine and the stomach free.
        t = (x + p.liver_left_mm) / (0.80 * a + p.liver_left_mm)
        span = p.liver_span_mm * np.clip(t, -0.5, 1.0) ** np.where(t > 0, 0.75, 1.0)
        span = np.where(t > 0, np.abs(span), -60.0 * s)
        front = np.clip((y - (spine_front + 8.0 * s)) / (45.0 * s), 0.0, 1.0)
        behind = 1.0 - front
        span = span - behind * 150.0 * s * np.clip((22.0 * s - x) / (55.0 * s), 0.0, 1.0)
        span -= 22.0 * s * np.clip((y - 0.25 * b) / (0.75 * b), 0.0, 1.0) * side
        span -= 34.0 * s * ((y - 0.1 * b) / b) ** 2
        span += 9.0 * s * smooth_noise(rng, shape, (5, 5))
        liver = np.maximum(right - span, right - p.liver_span_mm)
        # The left lobe hangs below the heart's bed, a hand thick at the midline, ending in an edge.
        lobe = 72.0 * s * np.clip((x + p.liver_left_mm) / (p.liver_left_mm + 20.0 * s), 0.0, 1.0) ** 0.7
        lobe = lobe * np.clip(front * 1.6 - 0.3, 0.0, 1.0) + 4.0 * s * smooth_noise(rng, shape, (5, 5)) - 3.0
        liver = np.minimum(liver, diaphragm - lobe)
        channels = np.stack([diaphragm, thick, liver, lung], -1)
        return Table.of(channels, (float(x[0, 0]), float(y[0, 0])), (_STEP, _STEP))

    @staticmethod
    def _pleurae(
        p: TorsoParameters,
        s: float,
        b: float,
        spine_front: float,
        sac: PericardialSac,
        centre: NDArray[np.floating],
        rng: np.random.Generator,
    ) -> Table:
        y = _nodes(-1.15 * b, 1.15 * b, centre[1])[:, None]
        z = _nodes(-130.0 * s, 200.0 * s, centre[2])[None, :]
        t = z / s
        shape = (y.shape[0], z.shape[1])
        back = 1.0 / (1.0 + np.exp((y - (spine_front + 26.0 * s)) / (5.0 * s)))
        front = 1.0 / (1.0 + np.exp(-(y - 0.50 * b) / (6.0 * s)))
        middle = np.clip(1.0 - back - front, 0.0, 1.0)
        upper = np.clip((t - 70.0) / 40.0, 0.0, 1.0)
        below = np.clip(-t / 40.0, 0.0, 1.0)
        # Low in front the lungs' edges leave the midline to the pericardium and its fat.
        low = np.clip((5.0 - t) / 45.0, 0.0, 1.0)
        # Behind, the lungs lie against the vertebrae; the aorta bulges into the left one, and the right one reaches
        # behind the heart.
        beside = 1.0 / (1.0 + np.exp((y - (spine_front - 2.0 * s)) / (4.0 * s)))
        right = s * (
            back * (13.0 + 8.0 * upper + 6.0 * beside)
            + middle * (34.0 - 8.0 * upper - 10.0 * below)
            + front * ((3.0 + 5.0 * upper) * (0.7 + p.visceral_fat) + 9.0 * low)
        )
        left = s * (
            back * (29.0 - 9.0 * beside)
            + middle * (32.0 - 4.0 * upper - 14.0 * below)
            + front * ((3.5 + 4.0 * upper) * (0.7 + p.visceral_fat) + 6.0 * low)
        )
        right = right * (1.0 + 0.06 * smooth_noise(rng, shape, (5, 5)))
        left = left * (1.0 + 0.06 * smooth_noise(rng, shape, (5, 5)))
        starts = (centre[1] + sac.start_mm[1], centre[2] + sac.start_mm[2])
        low, high = (_spread(side, starts, y[:, 0], z[0]) + centre[0] for side in sac.profile(0))
        # A film of fat over the pericardium comes and goes; pads lie at the angles between heart and diaphragm,
        # thicker on the right.
        bottom = float(centre[2] + sac.extent_mm()[0, 2])
        more = max(p.paracardial_fat - 1.0, 0.0) * (0.2 + p.visceral_fat) * s
        film = 1.7 + 6.5 * more + (0.9 + 2.5 * more) * smooth_noise(rng, shape, (2.5, 2.5))
        film = np.clip(film, 1.3, 4.0 + 11.0 * more)
        pad = np.exp(-(np.clip((z - bottom) / (22.0 * s), 0.0, None) ** 2)) * (0.1 + p.visceral_fat) * s
        pad = pad * p.paracardial_fat
        right = np.where(np.isnan(high), right, np.maximum(right, high + film + 7.0 * pad))
        left = np.where(np.isnan(low), left, np.maximum(left, -low + film + 5.0 * pad))
        # In front of the heart a pad of fat narrows towards the chest wall, slowly low down, where the lungs' edges
        # part around the bare area of the pericardium.
        narrowing = _STEP * np.clip(4.2 - 2.6 * p.visceral_fat + 0.025 * t[0], 1.0, 5.0)
        for k in range(1, shape[0]):
            if y[k, 0] > centre[1]:
                right[k] = np.maximum(right[k], right[k - 1] - narrowing)
                left[k] = np.maximum(left[k], left[k - 1] - narrowing)
        return Table.of(np.stack([right, -left], -1), (float(y[0, 0]), float(z[0, 0])), (_STEP, _STEP))
