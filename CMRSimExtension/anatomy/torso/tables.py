"""Smooth fields on small grids: built once per torso, looked up bilinearly for any number of points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Float = NDArray[np.float32]
BoundaryMode = Literal["nearest", "wrap"]


def smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    cells: tuple[float, ...],
    mode: Sequence[BoundaryMode] = ("nearest", "nearest"),
) -> NDArray[np.float64]:
    """Gaussian noise of unit SD, smooth over `cells` grid cells along each axis; `mode` as in scipy.ndimage."""
    field = gaussian_filter(rng.standard_normal(shape), cells, mode=mode)
    return field / field.std()


def circle_position(x: Float, y: Float) -> Float:
    """Direction of (x, y) as a number in [0, 4]: 0 posterior, 1 right, 2 anterior, 3 left.

    The "diamond angle": monotone in the angle and free of trigonometry.
    """
    t = y / (np.abs(x) + np.abs(y) + np.float32(1e-6))
    return np.where(x >= 0, 1 + t, 3 - t)


def circle_direction(position: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (x, y) of circle positions: the inverse of `circle_position`."""
    position = np.mod(position, 4.0)
    right = position <= 2.0
    t = np.where(right, position - 1.0, 3.0 - position)
    x = np.where(right, 1.0, -1.0) * (1.0 - np.abs(t))
    length = np.hypot(x, t)
    return x / length, t / length


@dataclass(frozen=True)
class Table:
    """Channels on a regular grid over two coordinates.

    Attributes
    ----------
    values
        (a * b, channels) float32.
    shape
        (a, b).
    start, step
        Coordinates of the first node and distances between nodes along both axes.
    """

    values: Float
    shape: tuple[int, int]
    start: tuple[float, float]
    step: tuple[float, float]

    @classmethod
    def of(cls, channels: NDArray, start: tuple[float, float], step: tuple[float, float]) -> "Table":
        """From (a, b, channels)."""
        a, b, n = channels.shape
        return cls(np.ascontiguousarray(channels, dtype=np.float32).reshape(a * b, n), (a, b), start, step)

    def at(self, p: Float, q: Float) -> Float:
        """(channels, n) values at coordinates p, q; beyond the grid, those of its border."""
        a, b = self.shape
        i, fi = _cell(p, self.start[0], self.step[0], a)
        j, fj = _cell(q, self.start[1], self.step[1], b)
        i *= np.int32(b)
        i += j
        table = self.values
        low = table.take(i, axis=0)
        low += (table.take(i + 1, axis=0) - low) * fj[:, None]
        i += np.int32(b)
        high = table.take(i, axis=0)
        high += (table.take(i + 1, axis=0) - high) * fj[:, None]
        low += (high - low) * fi[:, None]
        return low.T


def _cell(x: Float, start: float, step: float, count: int) -> tuple[NDArray[np.int32], Float]:
    t = (x - np.float32(start)) * np.float32(1.0 / step)
    np.clip(t, 0, np.float32(count - 1.001), out=t)
    i = t.astype(np.int32)
    t -= i
    return i, t
