"""Segmented acquisition: k-space is filled over several heartbeats, and its lines see the heart in different states.

A few phase-encoding lines are acquired for every cardiac phase of a heartbeat, other lines in the next, until k-space
is full. Whatever differs between heartbeats (their length, a trigger, the breath) then differs between lines: of that
ghosts and blur are made, and `LineSchedule` records it as ground truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, as_arrays, beside, is_torch, on_device_of
from CMRSimExtension.scanner.kspace import frequencies, partial_fourier_lines, uniform_lines
from CMRSimExtension.scanner.protocol import Protocol

ORDERS = ("interleaved", "sequential")
_SYSTOLE = 0.35
"""Share of systole in a heartbeat of the reference length."""
_INSTANT_MS = 0.01
"""A prospective series ends this long before the next R wave: more than records round away, so that no line passes into
the next heartbeat, where fresh tags are."""


@dataclass(frozen=True)
class LineSchedule:
    """When, and in what state, each line of each frame is acquired.

    Attributes
    ----------
    heartbeat
        (frames, lines) int: which heartbeat.
    time_ms
        (frames, lines): after the R wave that truly began the heartbeat.
    cardiac
        (frames, lines): the heart's true phase in [0, 1).
    displacement_mm
        (frames, lines, 2): where the breath has moved the object, along (rows, columns).
    durations_ms
        (heartbeats,): R-R intervals.
    prospective
        Whether the series begins anew with each trigger, as after a preparation at the R wave: nothing then goes on
        from its last frame to its first.
    """

    heartbeat: NDArray[np.int64]
    time_ms: NDArray[np.float64]
    cardiac: NDArray[np.float64]
    displacement_mm: NDArray[np.float64]
    durations_ms: NDArray[np.float64]
    prospective: bool = False

    def __post_init__(self) -> None:
        shape = self.heartbeat.shape
        if self.time_ms.shape != shape or self.cardiac.shape != shape or self.displacement_mm.shape != (*shape, 2):
            raise InputError(
                f"heartbeat {shape}, time_ms {self.time_ms.shape}, cardiac {self.cardiac.shape} and displacement_mm "
                f"{self.displacement_mm.shape} do not belong together; give (frames, lines), the last with 2 axes more"
            )
        if self.cardiac.min() < 0 or self.cardiac.max() >= 1:
            raise InputError("cardiac phases must lie in [0, 1); take them modulo 1")

    @property
    def frames(self) -> int:
        """Number of cardiac phases."""
        return self.heartbeat.shape[0]

    @property
    def since_start_ms(self) -> NDArray[np.float64]:
        """(frames, lines) time since the first heartbeat of the breath hold."""
        began = np.concatenate([[0.0], np.cumsum(self.durations_ms)])
        return began[self.heartbeat] + self.time_ms

    @property
    def since_r_wave_ms(self) -> NDArray[np.float64]:
        """(frames, lines) time since the last R wave: for a line outside its heartbeat, that of the one it came in."""
        own = (self.time_ms >= 0) & (self.time_ms < self.durations_ms[self.heartbeat])
        return np.where(own, self.time_ms, _in_series(self.time_ms, self.heartbeat, self.durations_ms)[0])

    def as_dict(self) -> dict[str, Any]:
        """JSON-able ground truth; `from_dict` is its inverse to the digits it keeps."""
        return {
            "heartbeat": self.heartbeat.tolist(),
            "time_ms": np.round(self.time_ms, 3).tolist(),
            # What rounds up to 1 is 0.
            "cardiac": np.mod(np.round(self.cardiac, 6), 1.0).tolist(),
            "displacement_mm": np.round(self.displacement_mm, 4).tolist(),
            "durations_ms": np.round(self.durations_ms, 3).tolist(),
            "prospective": self.prospective,
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "LineSchedule":
        """A schedule from its record."""
        time, cardiac, moved, durations = (
            np.array(record[name], dtype=np.float64)
            for name in ("time_ms", "cardiac", "displacement_mm", "durations_ms")
        )
        beat = np.array(record["heartbeat"], dtype=np.int64)
        return cls(beat, time, cardiac, moved, durations, bool(record.get("prospective", False)))

    def of_frames(self, frames: Sequence[int]) -> "LineSchedule":
        """The schedule of some of its frames, in the order given."""
        chosen = list(frames)
        return replace(
            self,
            heartbeat=self.heartbeat[chosen],
            time_ms=self.time_ms[chosen],
            cardiac=self.cardiac[chosen],
            displacement_mm=self.displacement_mm[chosen],
        )

    def states(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Between which two of `count` states of a heartbeat each line lies, and how far from the first.

        Each is (frames, lines). After the last state comes the first again, or, in a prospective series, nothing else.
        """
        place = self.cardiac * count
        first = np.minimum(np.floor(place).astype(np.int64), count - 1)
        second = np.minimum(first + 1, count - 1) if self.prospective else (first + 1) % count
        return first, second, place - first


def cardiac_phase(time_ms: Any, duration_ms: Any, reference_ms: float) -> Any:
    """Phase of the heart at a time after the R wave of a heartbeat of any length.

    Systole shortens with the square root of the heartbeat's length (Bazett HC, Heart 1920;7:353-370), diastole takes
    the rest: a long heartbeat is mostly a long diastole. Times past the end run on into a following heartbeat of the
    same length.

    Parameters
    ----------
    time_ms, duration_ms
        After the R wave, and R-R interval; they broadcast.
    reference_ms
        Length of the heartbeat for which the anatomy defines its phases.

    Returns
    -------
    array
        In [0, 1).
    """
    xp, (time, duration) = as_arrays(time_ms, duration_ms)
    if not (xp.all(duration > 0) and reference_ms > 0):
        raise InputError("a heartbeat's length must be above 0 ms")
    time = xp.remainder(time, duration)
    systole = xp.minimum(_SYSTOLE * reference_ms * xp.sqrt(duration / reference_ms), 0.9 * duration)
    phase = xp.where(
        time < systole, _SYSTOLE * time / systole, _SYSTOLE + (1 - _SYSTOLE) * (time - systole) / (duration - systole)
    )
    return xp.where(phase >= 1.0, xp.zeros_like(phase), phase)


def segmented(
    protocol: Protocol,
    durations_ms: NDArray[np.floating],
    reference_ms: float,
    *,
    order: str = "interleaved",
    nominal_ms: float | None = None,
    delays_ms: NDArray[np.floating] | None = None,
    prospective: bool = False,
) -> LineSchedule:
    """Schedule of a breath hold.

    Parameters
    ----------
    protocol
        Lines, phases, repetition time.
    durations_ms
        (heartbeats,) R-R intervals; the lines that partial Fourier and acceleration leave are shared among them. A line
        that is skipped is given the state of the one acquired next to it.
    reference_ms
        Heartbeat for which the anatomy defines its phases.
    order
        ``interleaved``: a heartbeat's lines are spread over k-space; ``sequential``: they are neighbours.
    nominal_ms
        R-R interval that the scanner assumes when it sorts data into frames (gating by time); None stretches every
        heartbeat to its own length (retrospective gating).
    delays_ms
        (heartbeats,) how much later than the true R wave the trigger fired.
    prospective
        Begin anew with each trigger, at the same times after it in every heartbeat: those of `nominal_ms`, or of the
        mean heartbeat. What would come before the trigger comes with it, what would come after the heartbeat at its
        end.

    Raises
    ------
    InputError
        For no heartbeats, or an unknown order.
    """
    durations = np.asarray(durations_ms, dtype=np.float64)
    if durations.ndim != 1 or len(durations) == 0 or not np.all(durations > 0):
        raise InputError(f"durations_ms is {durations_ms}; give at least one heartbeat, each longer than 0 ms")
    if order not in ORDERS:
        raise InputError(f"order is {order!r}; choose from {', '.join(ORDERS)}")
    delays = np.zeros(len(durations)) if delays_ms is None else np.asarray(delays_ms, dtype=np.float64)
    lines, beats = protocol.acquired_matrix[protocol.phase_axis], len(durations)
    acquired = partial_fourier_lines(lines, protocol.partial_fourier) & uniform_lines(lines, protocol.acceleration)
    index = np.maximum(np.cumsum(acquired) - 1, 0)
    views = int(np.ceil(acquired.sum() / beats))
    heartbeat = index % beats if order == "interleaved" else index // views
    place = index // beats if order == "interleaved" else index % views
    frames = np.arange(protocol.phases)[:, None] / protocol.phases
    if nominal_ms is None and prospective:
        nominal_ms = float(durations.mean())
    length = durations[heartbeat] if nominal_ms is None else np.full(lines, float(nominal_ms))
    within = (place - (views - 1) / 2) * protocol.repetition_time_ms
    time = frames * length + within
    if prospective:
        time = np.maximum(time, 0.0)
    time = time + delays[heartbeat]
    if prospective:
        time = np.minimum(time, durations[heartbeat] - _INSTANT_MS)
    shape = time.shape
    beat = np.broadcast_to(heartbeat, shape)
    phase = cardiac_phase(*_in_series(time, beat, durations), reference_ms)
    return LineSchedule(np.array(beat), time, phase, np.zeros((*shape, 2)), durations, prospective)


def _in_series(
    time: NDArray[np.float64], beat: NDArray[np.int64], durations: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Time since the last R wave, and length of its heartbeat: past its own heartbeat's end a time lies in the next,
    before its R wave in the last."""
    began = np.concatenate([[0.0], np.cumsum(durations)])
    absolute = began[beat] + time
    # Before the first and after the last heartbeat the series goes on with beats of the same length.
    inside = np.clip(np.searchsorted(began, absolute, side="right") - 1, 0, len(durations) - 1)
    return np.mod(absolute - began[inside], durations[inside]), durations[inside]


def assemble(states: Any, schedule: LineSchedule, protocol: Protocol) -> Any:
    """k-space of every frame, each line taken from the state that the heart was in.

    Parameters
    ----------
    states
        (phases, ..., acquired rows, acquired columns) k-space of the object at evenly spaced cardiac phases from 0,
        NumPy or torch. Between two of them the object is taken to change linearly.
    schedule
        When each line is acquired.
    protocol
        Phase direction and field of view. The breath moves all that the image shows, the back included.

    Returns
    -------
    array
        (frames, ..., acquired rows, acquired columns).

    Raises
    ------
    InputError
        Where `states` do not have the protocol's matrix.
    """
    shape = protocol.acquired_matrix
    if tuple(states.shape[-2:]) != shape:
        raise InputError(f"states have {tuple(states.shape[-2:])} rows and columns; the protocol acquires {shape}")
    xp = array_namespace(states)
    low, high, share, lines = _lines(schedule, len(states), states)
    by_line = xp.moveaxis(states, protocol.phase_axis, 1)
    expand = (slice(None),) + (None,) * (by_line.ndim - 2)

    def seen(frame: int) -> Any:
        first, second = by_line[low[frame], lines], by_line[high[frame], lines]
        return first + share[frame][expand] * (second - first)

    if is_torch(states):
        frames = xp.stack([seen(frame) for frame in range(schedule.frames)], axis=0)
    else:
        # Into its place at once: k-space of all frames is held once, not twice.
        frames = np.empty((schedule.frames, *by_line.shape[1:]), dtype=states.dtype)
        for frame in range(schedule.frames):
            frames[frame] = seen(frame)
    result = xp.moveaxis(frames, 1, protocol.phase_axis)
    if np.any(schedule.displacement_mm):
        result = result * _shift(schedule, protocol, result)
    return result


def assemble_adjoint(frames: Any, schedule: LineSchedule, protocol: Protocol, phases: int) -> Any:
    """The adjoint of `assemble`: states (phases, ..., rows, columns) from frames."""
    xp = array_namespace(frames)
    if np.any(schedule.displacement_mm):
        frames = frames * xp.conj(_shift(schedule, protocol, frames))
    low, high, share, lines = _lines(schedule, phases, frames)
    by_line = xp.moveaxis(frames, protocol.phase_axis, 1)
    states = xp.zeros((phases, *by_line.shape[1:]), dtype=frames.dtype, **on_device_of(frames))
    expand = (slice(None),) + (None,) * (by_line.ndim - 2)
    for frame in range(schedule.frames):
        weight = share[frame][expand]
        # Lines differ within a frame, so no place is written twice by one statement.
        states[low[frame], lines] += (1 - weight) * by_line[frame]
        states[high[frame], lines] += weight * by_line[frame]
    return xp.moveaxis(states, 1, protocol.phase_axis)


def _lines(schedule: LineSchedule, phases: int, like: Any) -> tuple[Any, Any, Any, Any]:
    """`LineSchedule.states` and the numbers of the lines, beside `like`."""
    low, high, share = (beside(values, like) for values in schedule.states(phases))
    return low, high, share, beside(np.arange(schedule.cardiac.shape[1]), like)


def _shift(schedule: LineSchedule, protocol: Protocol, like: Any) -> Any:
    """(frames, ..., rows, columns) phase that the displacement of each line gives it, to multiply `like` with."""
    rows, columns = (frequencies(n) / fov for n, fov in zip(protocol.acquired_matrix, protocol.fov_mm, strict=True))
    moved = schedule.displacement_mm
    if protocol.phase_direction == "rows":
        cycles = moved[:, :, None, 0] * rows[:, None] + moved[:, :, None, 1] * columns
    else:
        cycles = moved[:, None, :, 0] * rows[:, None] + moved[:, None, :, 1] * columns
    turns = np.exp(-2j * np.pi * cycles)
    return beside(turns.reshape(schedule.frames, *(1,) * (like.ndim - 3), *turns.shape[-2:]), like)
