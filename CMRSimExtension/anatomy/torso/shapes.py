"""Shapes of organs: ellipsoids, and the smooth irregularity that keeps them from looking like ellipsoids."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.torso.tables import Float


@dataclass(frozen=True)
class Ripple:
    """A smooth, volume-preserving irregularity: sinusoidal shears along and across random directions.

    Attributes
    ----------
    wave
        (k, 3) wave vectors in rad/mm.
    shift
        (k, 3) displacement amplitudes in mm, each at right angles to its wave vector (so that every shear keeps volume
        and can be undone).
    phase
        (k,) rad.
    """

    wave: NDArray[np.float32]
    shift: NDArray[np.float32]
    phase: NDArray[np.float32]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, wavelengths_mm: tuple[float, ...], amplitudes_mm: tuple[float, ...]
    ) -> "Ripple":
        """One shear for each wavelength and amplitude."""
        k = len(wavelengths_mm)
        direction = rng.standard_normal((k, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        across = np.cross(direction, rng.standard_normal((k, 3)))
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        return cls(
            (direction * (2 * np.pi / np.asarray(wavelengths_mm))[:, None]).astype(np.float32),
            (across * np.asarray(amplitudes_mm)[:, None]).astype(np.float32),
            rng.uniform(0, 2 * np.pi, k).astype(np.float32),
        )

    def apply(self, x: Float, y: Float, z: Float) -> tuple[Float, Float, Float]:
        """Moved coordinates."""
        for (kx, ky, kz), (dx, dy, dz), phase in zip(self.wave, self.shift, self.phase, strict=True):
            w = np.sin(kx * x + ky * y + kz * z + phase)
            x, y, z = x + dx * w, y + dy * w, z + dz * w
        return x, y, z


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; rows of `inverse` map mm from its centre to units of its semi-axes."""

    centre: NDArray[np.float32]
    inverse: NDArray[np.float32]

    @classmethod
    def at(
        cls, centre: tuple[float, ...], semi: tuple[float, ...], tilt_deg: tuple[float, float] = (0.0, 0.0)
    ) -> "Ellipsoid":
        """Upright ellipsoid tilted about y (first angle) and then about x (second)."""
        a, b = np.deg2rad(tilt_deg)
        about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        inverse = (about_x @ about_y) / np.asarray(semi)[:, None]
        return cls(np.asarray(centre, dtype=np.float32), inverse.astype(np.float32))

    def level(self, x: Float, y: Float, z: Float) -> Float:
        """Squared distance from the centre in units of the semi-axes: 1 on the surface."""
        out = np.zeros(len(x), dtype=np.float32)
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        for a, b, c in self.inverse:
            out += np.square(a * dx + b * dy + c * dz)
        return out

    def bounds(self, grow: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corners of the bounding box of the ellipsoid grown by a factor."""
        half = grow * np.sqrt((np.linalg.inv(self.inverse.astype(float)) ** 2).sum(axis=1))
        return self.centre - half, self.centre + half


def points_within(box: tuple[NDArray, NDArray], x: Float, y: Float, z: Float, margin: float) -> NDArray[np.intp]:
    """Indices of the points in a box (two corners, mm) widened by a margin."""
    low, high = box[0] - margin, box[1] + margin
    return np.flatnonzero((x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1]) & (z > low[2]) & (z < high[2]))
