"""The acquisitions of an ISMRMRD file: each readout of k-space, of the reference scan and of noise, with its header."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.scanner.segmented import LineSchedule
from CMRSimExtension.scanner.trajectories import Trajectory
from CMRSimExtension.simulation.cine import Cine

TICK_MS = 2.5
"""Time stamps count ticks of this length, as the vendors' do."""
_LPS = np.diag([-1.0, -1.0, 1.0])


class Clock:
    """When the lines of a series were acquired, in ms after its first readout: noise, then slice after slice.

    The breath hold of a slice begins with the heartbeat after the last one of the slice before. Where that slice's
    lines ran over, it begins when they end; where reference lines come in between, with the first heartbeat after them.

    Parameters
    ----------
    repetition_ms
        From line to line of noise and reference.
    """

    def __init__(self, repetition_ms: float) -> None:
        self._repetition_ms = repetition_ms
        self._beats_end_ms = self._last_line_ms = 0.0

    def noise(self, readouts: int) -> NDArray[np.float64]:
        """Times of as many readouts of noise."""
        times = self._last_line_ms + self._repetition_ms * np.arange(readouts, dtype=np.float64)
        self._last_line_ms += self._repetition_ms * readouts
        return times

    def begin(self, schedule: LineSchedule, reference_lines: int = 0) -> tuple[float, NDArray[np.float64]]:
        """Time of the slice's first R wave, and times of the reference lines before its first line."""
        lines = schedule.since_start_ms
        earliest = self._last_line_ms + reference_lines * self._repetition_ms - float(lines.min())
        if not self._beats_end_ms:
            began = earliest
        elif reference_lines:
            beat = float(schedule.durations_ms[0])
            began = self._beats_end_ms + beat * max(0.0, np.ceil((earliest - self._beats_end_ms) / beat))
        else:
            began = max(self._beats_end_ms, earliest)
        self._beats_end_ms = began + float(schedule.durations_ms.sum())
        self._last_line_ms = began + float(lines.max()) + TICK_MS
        before = self._repetition_ms * np.arange(-reference_lines, 0, dtype=np.float64)
        return began, began + float(lines.min()) + before


@dataclass
class Acquisitions:
    """Makes the readouts of one file, in the order in which they are asked for.

    Attributes
    ----------
    cine
        Geometry and times.
    phase_direction
        Image axis of the phase encoding, ``rows`` or ``columns``.
    paths
        The trajectory of each frame, or None for Cartesian lines.
    dwell_us
        From sample to sample, or 0 where it is not known.
    repetition_ms
        From line to line of noise and reference.
    count
        How many were made.
    lines
        The indices (along the phase direction, or of spokes) of the images' lines that were made.
    heartbeats
        How many heartbeats the longest breath hold took, at least 1.
    """

    cine: Cine
    phase_direction: str
    paths: list[Trajectory] | None
    dwell_us: float
    repetition_ms: float
    count: int = 0
    lines: set[int] = field(default_factory=set)
    heartbeats: int = 1

    def __post_init__(self) -> None:
        self._clock = Clock(self.repetition_ms)

    @property
    def swapped(self) -> bool:
        """Whether readouts run along the image's rows' index."""
        return self.phase_direction == "columns" and self.paths is None

    def noise(self, samples: NDArray[np.complexfloating], clocked: bool) -> NDArray[Any]:
        """Readouts (structured) of noise (coils, readouts, samples); they carry times where lines will."""
        from ismrmrd import constants

        readouts = np.moveaxis(samples, 1, 0)
        data = self._blank(readouts, 0)
        data["head"]["flags"] |= _bit(constants.ACQ_IS_NOISE_MEASUREMENT)
        if clocked:
            data["head"]["acquisition_time_stamp"] = ticks(self._clock.noise(len(data)))
        return data

    def of_slice(
        self, samples: NDArray[np.complexfloating], s: int, schedule: LineSchedule | None,
        reference: NDArray[np.complexfloating] | None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Readouts of the reference scan and of the images of one slice.

        Parameters
        ----------
        samples
            (frames, coils, lines of rows, columns) or, with trajectories, (frames, coils, spokes, samples).
        s
            Which slice.
        schedule
            When each line was acquired, or None where that is not known.
        reference
            (coils, rows, columns), or None.
        """
        swap = self.swapped
        packed = np.ascontiguousarray(np.swapaxes(samples, -1, -2) if swap else samples, dtype=np.complex64)
        lines = np.zeros(0, np.intp)
        by_line = np.zeros((0, packed.shape[1], packed.shape[3]), np.complex64)
        if reference is not None:
            by_line = np.moveaxis(np.swapaxes(reference, -1, -2) if swap else reference, 1, 0)
            lines = np.flatnonzero(np.any(by_line != 0, axis=(1, 2)))
        began_ms, times_ms = (0.0, None) if schedule is None else self._clock.begin(schedule, len(lines))
        first = self._reference(by_line[lines], lines, s)
        if schedule is not None and times_ms is not None:
            # Before the first heartbeat of the breath hold the series goes on with beats of the same length.
            first["head"]["acquisition_time_stamp"] = ticks(times_ms)
            since_r = np.mod(times_ms - began_ms, schedule.durations_ms[0])
            first["head"]["physiology_time_stamp"][:, 0] = ticks(since_r)
        return first, self._images(packed, s, schedule, began_ms)

    def _reference(self, readouts: NDArray[np.complexfloating], lines: NDArray[np.intp], s: int) -> NDArray[Any]:
        from ismrmrd import constants

        data = self._blank(readouts, s)
        data["head"]["flags"] |= _bit(constants.ACQ_IS_PARALLEL_CALIBRATION)
        data["head"]["idx"]["kspace_encode_step_1"] = lines
        return data

    def _images(
        self, packed: NDArray[np.complex64], s: int, schedule: LineSchedule | None, began_ms: float
    ) -> NDArray[Any]:
        from ismrmrd import constants

        frame, line = np.nonzero(np.any(packed != 0, axis=(1, 3)))
        if self.paths is None and frame.size == 0:
            frame, line = (index.reshape(-1) for index in np.indices(packed.shape[::2][:2]))
        if schedule is not None:
            order = np.argsort(schedule.since_start_ms[frame, line], kind="stable")
            frame, line = frame[order], line[order]
        data = self._blank(packed[frame, :, line], s)
        head = data["head"]
        head["idx"]["phase"], head["idx"]["kspace_encode_step_1"] = frame, line
        first, last = np.unique(frame, return_index=True)[1], np.unique(frame[::-1], return_index=True)[1]
        head["flags"][first] |= _bit(constants.ACQ_FIRST_IN_SLICE)
        head["flags"][len(frame) - 1 - last] |= _bit(constants.ACQ_LAST_IN_SLICE)
        if s == self.cine.grid.shape[0] - 1:
            head["flags"][-1:] |= _bit(constants.ACQ_LAST_IN_MEASUREMENT)
        if schedule is not None:
            head["idx"]["segment"] = schedule.heartbeat[frame, line]
            head["physiology_time_stamp"][:, 0] = ticks(schedule.since_r_wave_ms[frame, line])
            head["acquisition_time_stamp"] = ticks(began_ms + schedule.since_start_ms[frame, line])
            self.heartbeats = max(self.heartbeats, len(schedule.durations_ms))
        elif self.cine.times_ms is not None:
            head["physiology_time_stamp"][:, 0] = ticks(self.cine.times_ms[s][frame])
        if self.paths is not None:
            head["trajectory_dimensions"] = 2
            for index, (f, n) in enumerate(zip(frame, line)):
                data["traj"][index] = _positions(self.paths[f], int(n))
        self.lines.update(np.unique(line).tolist())
        return data

    def _blank(self, readouts: NDArray[np.complexfloating], s: int) -> NDArray[Any]:
        """Structured readouts (n, coils, samples) at slice `s`, not yet told what they are."""
        from ismrmrd.hdf5 import acquisition_dtype

        count, coils, reads = readouts.shape
        data = np.zeros(count, dtype=acquisition_dtype)
        head, place = data["head"], place_of(self.cine, s)
        head["version"], head["number_of_samples"], head["center_sample"] = 1, reads, reads // 2
        head["sample_time_us"] = self.dwell_us
        head["available_channels"] = head["active_channels"] = coils
        for index in range(min(coils, 1024)):
            head["channel_mask"][:, index // 64] |= np.uint64(1 << (index % 64))
        head["position"], head["slice_dir"] = place["position"], place["slice_dir"]
        head["read_dir"], head["phase_dir"] = place["y" if self.swapped else "x"], place["x" if self.swapped else "y"]
        head["idx"]["slice"] = s
        head["scan_counter"] = self.count + 1 + np.arange(count)
        self.count += count
        empty = np.zeros(0, np.float32)
        for index, readout in enumerate(np.ascontiguousarray(readouts, dtype=np.complex64)):
            data["data"][index] = readout.view(np.float32).reshape(-1)
            data["traj"][index] = empty
        return data


def place_of(cine: Cine, s: int) -> dict[str, NDArray[np.float64]]:
    """Directions, and the position of pixel (rows // 2, columns // 2) of slice `s`, in LPS."""
    affine = cine.grid.affine_ras
    origin = affine[:3, 3] + s * affine[:3, 2] if cine.slice_origins_mm is None else cine.slice_origins_mm[s]
    rows, columns = cine.grid.shape[1:]
    centre = origin + affine[:3, 0] * (columns // 2) + affine[:3, 1] * (rows // 2)
    x, y = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (0, 1))
    return {"position": _LPS @ centre, "x": _LPS @ x, "y": _LPS @ y, "slice_dir": _LPS @ np.cross(x, y)}


def to_pixel_in_the_middle(
    cine: Cine, samples: NDArray[np.complexfloating], paths: list[Trajectory] | None
) -> NDArray[np.complexfloating]:
    """From image samples in the centres of their cells (`scanner.kspace`) to one in the middle: half a pixel.

    `samples` are (..., rows, columns), or with `paths` (frames, coils, spokes, samples).
    """
    rows, columns = cine.image.shape[2:]
    per_cycle = [0.5 / n if n % 2 == 0 else 0.0 for n in (rows, columns)]
    if paths is None:
        lines, reads = samples.shape[-2:]
        along_lines, along_reads = np.arange(lines) - lines // 2, np.arange(reads) - reads // 2
        cycles = per_cycle[0] * along_lines[:, None] + per_cycle[1] * along_reads
        turn = np.exp(2j * np.pi * cycles)
    else:
        cycles = np.stack([(p.positions @ per_cycle).reshape(p.spokes, p.read) for p in paths])
        turn = np.exp(2j * np.pi * cycles)[:, None]
    return np.asarray(samples * turn.astype(samples.dtype if np.iscomplexobj(samples) else np.complex128))


def _bit(flag: int) -> np.uint64:
    return np.uint64(1 << (flag - 1))


def ticks(time_ms: NDArray[np.floating]) -> NDArray[np.uint32]:
    """Time stamps of times."""
    return np.rint(time_ms / TICK_MS).astype(np.uint32)




def _positions(path: Trajectory, spoke: int) -> NDArray[np.float32]:
    """(read * 2,) positions (kx, ky) of one spoke as fractions of the encoded matrix."""
    rows_columns = path.positions[spoke * path.read:(spoke + 1) * path.read]
    return np.ascontiguousarray(rows_columns[:, ::-1] / path.read, dtype=np.float32).reshape(-1)
