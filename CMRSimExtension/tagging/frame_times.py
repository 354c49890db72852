"""When each frame of a cine was taken, and series of another temporal resolution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine

ASSUMED_CYCLE_MS = 800.0
"""Heartbeat at 75 beats per minute, for images that say nothing of time."""
PAIR_SYSTOLE_SHARE = 0.35
"""Of the heartbeat, at which the second of an ED + ES pair without times is taken to lie."""
MIN_FRAMES_TO_RESAMPLE = 5
"""Between fewer frames than these the heart moves too far to be interpolated."""


@dataclass(frozen=True)
class FrameTimes:
    """Times of a series.

    Attributes
    ----------
    times_ms
        (slices, frames) after the R wave.
    cycle_ms
        (slices,) length of the heartbeat.
    source
        Where they come from, in words, for the sidecar.
    """

    times_ms: NDArray[np.float64]
    cycle_ms: NDArray[np.float64]
    source: str


def frame_times(cine: Cine) -> FrameTimes:
    """Times of a cine's frames: its own, or assumed ones that say so."""
    frames, slices = cine.image.shape[:2]
    if cine.times_ms is not None:
        times = np.asarray(cine.times_ms, dtype=np.float64)
        if times.shape != (slices, frames):
            raise InputError(f"times_ms has the shape {times.shape}; (slices, frames) = {(slices, frames)} is needed")
        if not np.all(np.isfinite(times)) or np.any(np.diff(times, axis=1) <= 0) or times.min() < 0:
            raise InputError("frame times must be finite, 0 ms or later, and rise from frame to frame")
        if cine.heartbeats_ms is not None:
            cycle = np.asarray(cine.heartbeats_ms, dtype=np.float64)
        elif frames > 2:
            cycle = times[:, -1] + np.diff(times, axis=1).mean(axis=1)
        else:
            cycle = np.maximum(times[:, -1] / PAIR_SYSTOLE_SHARE, ASSUMED_CYCLE_MS)
        return FrameTimes(times, cycle, "the cine's own frame times")
    cycle = np.full(slices, ASSUMED_CYCLE_MS)
    if frames == 2:
        share = np.array([0.0, PAIR_SYSTOLE_SHARE])
        source = "assumed: an ED + ES pair without times, ES at 0.35 of a heartbeat of 800 ms (75 bpm)"
    else:
        share = np.arange(frames) / frames
        source = f"assumed: no times given, {frames} frames evenly over a heartbeat of 800 ms (75 bpm)"
    return FrameTimes(cycle[:, None] * share, cycle, source)


@dataclass(frozen=True)
class Resampling:
    """Which frames of the cine make each frame of the tagged series.

    Attributes
    ----------
    times
        Of the new series.
    before, after
        (slices, frames) frame numbers of the cine.
    share
        (slices, frames) weight of `after`; 0 takes `before` as it is.
    """

    times: FrameTimes
    before: NDArray[np.intp]
    after: NDArray[np.intp]
    share: NDArray[np.float32]


def resampling(times: FrameTimes, frames: int | None) -> Resampling:
    """Frames evenly spread over each slice's heartbeat; None keeps those there are.

    Raises
    ------
    InputError
        Another number of frames is asked of a series too short to be interpolated.
    """
    slices, had = times.times_ms.shape
    if frames is None or frames == had:
        here = np.tile(np.arange(had), (slices, 1))
        return Resampling(times, here, here, np.zeros((slices, had), np.float32))
    if had < MIN_FRAMES_TO_RESAMPLE:
        raise InputError(
            f"the cine has {had} frames, too few to make {frames} of them; a series needs {MIN_FRAMES_TO_RESAMPLE} or "
            "more to be interpolated in time: leave out frames"
        )
    wanted = times.cycle_ms[:, None] * np.arange(frames) / frames
    before, after = np.empty((slices, frames), np.intp), np.empty((slices, frames), np.intp)
    share = np.empty((slices, frames), np.float32)
    for k in range(slices):
        # The heartbeat closes: after the last frame comes the first again.
        own = np.append(times.times_ms[k], times.times_ms[k, 0] + times.cycle_ms[k])
        place = np.clip(np.interp(wanted[k], own, np.arange(had + 1)), 0, had)
        low = np.minimum(np.floor(place + 1e-6).astype(np.intp), had - 1)
        before[k], after[k], share[k] = low, (low + 1) % had, np.maximum(place - low, 0)
    # Under a thousandth of a frame there is nothing to interpolate, and the image stays as it is.
    share[share < 1e-3] = 0.0
    return Resampling(FrameTimes(wanted, times.cycle_ms, times.source), before, after, share)
