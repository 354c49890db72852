"""What a slice sees through its thickness: the profile of a windowed-sinc pulse, and a few points that stand for it."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch

_EXTENT = 1.5
"""Half width that is kept, in slice thicknesses; beyond it a profile holds less than 0.5 % of its area."""


@lru_cache(maxsize=32)
def _tabulated(time_bandwidth: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Profile against position in units of its full width at half maximum."""
    # In the small-tip limit the profile is the Fourier transform of the pulse (Pauly J et al., J Magn Reson
    # 1989;81:43-56); the pulse is a sinc of that time-bandwidth product under a Hann window.
    time = np.linspace(-0.5, 0.5, 1025)
    pulse = np.sinc(time_bandwidth * time) * np.cos(np.pi * time) ** 2
    frequency = np.linspace(0.0, 2.5 * time_bandwidth + 4.0, 4001)
    profile = np.trapezoid(pulse * np.cos(2 * np.pi * frequency[:, None] * time), time, axis=-1)
    profile /= profile[0]
    below = int(np.argmax(profile < 0.5))
    share = (profile[below - 1] - 0.5) / (profile[below - 1] - profile[below])
    half = frequency[below - 1] + share * (frequency[below] - frequency[below - 1])
    position = np.linspace(-_EXTENT, _EXTENT, 3001)
    return position, np.abs(np.interp(np.abs(position) * 2 * half, frequency, profile))


def slice_profile(position_mm: Any, thickness_mm: float, time_bandwidth: float = 2.0) -> Any:
    """Relative signal at distances from the slice's centre plane.

    Parameters
    ----------
    position_mm
        Distances, any shape; of a tensor comes a tensor, differentiably.
    thickness_mm
        Full width at half maximum of the profile.
    time_bandwidth
        Of the pulse: 2 gives the rounded slices of fast cine pulses, 8 an almost rectangular one.

    Returns
    -------
    array
        1 in the centre, 0.5 at half the thickness, 0 beyond 1.5 thicknesses.
    """
    _check(thickness_mm, time_bandwidth)
    position, profile = _tabulated(float(time_bandwidth))
    if is_torch(position_mm):
        return _interpolated(position_mm / thickness_mm, profile)
    return np.interp(np.asarray(position_mm, dtype=np.float64) / thickness_mm, position, profile, left=0.0, right=0.0)


def _interpolated(position: Any, profile: NDArray[np.float64]) -> Any:
    """The tabulated profile at positions in slice thicknesses, linearly interpolated: `numpy.interp` on tensors."""
    xp, last = array_namespace(position), len(profile) - 1
    table = beside(profile, position)
    place = xp.clip((position + _EXTENT) * (last / (2 * _EXTENT)), 0.0, float(last))
    low = xp.clip(xp.astype(xp.floor(place), xp.int64), 0, last - 1)
    first, second = (xp.reshape(xp.take(table, xp.reshape(i, (-1,))), position.shape) for i in (low, low + 1))
    value = first + (place - xp.astype(low, place.dtype)) * (second - first)
    return xp.where(xp.abs(position) <= _EXTENT, value, xp.zeros_like(value))


def slice_samples(
    thickness_mm: float, count: int, time_bandwidth: float = 2.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A few planes that stand for a slice.

    The profile is cut into `count` strata of equal area and each is represented by its centroid, so that every plane
    carries the same share of the signal: an edge that crosses the slice moves the voxel's value in even steps.

    Parameters
    ----------
    thickness_mm
        Full width at half maximum.
    count
        How many planes; 1 is the centre plane alone.
    time_bandwidth
        Of the pulse.

    Returns
    -------
    offsets_mm, weights
        ``(count,)`` each: ascending distances from the centre plane, symmetric about 0, and weights that sum to 1.

    Raises
    ------
    InputError
        For fewer than one plane, or a thickness that is not above 0.
    """
    _check(thickness_mm, time_bandwidth)
    if count < 1:
        raise InputError(f"count is {count}; a slice needs at least 1 plane")
    position, profile = _tabulated(float(time_bandwidth))
    area = np.concatenate([[0.0], np.cumsum(0.5 * (profile[1:] + profile[:-1]) * np.diff(position))])
    moment_density = profile * position
    moment = np.concatenate([[0.0], np.cumsum(0.5 * (moment_density[1:] + moment_density[:-1]) * np.diff(position))])
    edges = np.interp(np.linspace(0.0, 1.0, count + 1), area / area[-1], position)
    edges[0], edges[-1] = position[0], position[-1]
    offsets = np.diff(np.interp(edges, position, moment)) / np.diff(np.interp(edges, position, area))
    offsets = 0.5 * (offsets - offsets[::-1])
    return offsets * thickness_mm, np.full(count, 1.0 / count)


def _check(thickness_mm: float, time_bandwidth: float) -> None:
    if not thickness_mm > 0:
        raise InputError(f"thickness_mm is {thickness_mm}; it must be above 0")
    if not 1.0 <= time_bandwidth <= 20.0:
        raise InputError(f"time_bandwidth is {time_bandwidth}; choose a value from 1 to 20")
