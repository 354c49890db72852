"""Periodic random fields in space: one set of volumes, looked up at any point, for textures and irregular outlines."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

_SIZE = 64


def draw_field(rng: np.random.Generator, widths: tuple[float, float, float]) -> NDArray[np.float32]:
    """Draw a Gaussian random field on a torus: white noise smoothed by a Gaussian of SD `widths`, in cells.

    Returns
    -------
    (64, 64, 64) float32, mean 0 and standard deviation 1, periodic along every axis.
    """
    spectrum = fft.rfftn(rng.standard_normal((_SIZE,) * 3).astype(np.float32))
    for axis, width in enumerate(widths):
        k = (fft.rfftfreq if axis == 2 else fft.fftfreq)(_SIZE).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = len(k)
        spectrum *= np.exp(-2 * (np.pi * width * k) ** 2).reshape(shape)
    field = fft.irfftn(spectrum, s=(_SIZE,) * 3)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


@lru_cache(maxsize=64)  # hearts ask for seven smoothings of eight seeds, a megabyte each
def periodic_field(seed: int, correlation: float = 2.0) -> NDArray[np.float32]:
    """Smooth Gaussian random field on a torus.

    Parameters
    ----------
    seed
        Seed of the field; the same seed gives the same field.
    correlation
        Standard deviation of the Gaussian that smooths white noise, in cells.

    Returns
    -------
    (64, 64, 64) float32, read-only, mean 0 and standard deviation 1, periodic along every axis.
    """
    field = draw_field(np.random.default_rng(seed), (correlation,) * 3)
    field.setflags(write=False)
    return field


@lru_cache(maxsize=16)
def uniform_field(seed: int, correlation: float = 2.0) -> NDArray[np.float32]:
    """As `periodic_field`, values replaced by their rank, uniform in (0, 1): a threshold gives a known fraction."""
    field = periodic_field(seed, correlation)
    rank = np.empty(field.size, dtype=np.float32)
    rank[np.argsort(field, axis=None)] = (np.arange(field.size, dtype=np.float32) + 0.5) / field.size
    uniform = rank.reshape(field.shape)
    uniform.setflags(write=False)
    return uniform


def look_up(field: NDArray[np.float32], x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.float32]:
    """Nearest value of a periodic `field` at cell coordinates `x`, `y`, `z` (equal shapes, any real numbers)."""
    n = _SIZE - 1
    i = np.rint(x).astype(np.int32) & n
    j = np.rint(y).astype(np.int32) & n
    k = np.rint(z).astype(np.int32) & n
    return field.reshape(-1)[(i * _SIZE + j) * _SIZE + k]
