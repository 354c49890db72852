"""One slice's breath hold: heartbeats, triggers, breath and sparks put into k-space, line by line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch
from CMRSimExtension.scanner.faults import Fault
from CMRSimExtension.scanner.kspace import CartesianEncoding
from CMRSimExtension.scanner.multichannel import ChannelAcquisition
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.segmented import LineSchedule, assemble, segmented


@dataclass(frozen=True)
class BreathHold:
    """What happened during one slice's breath hold: the ground truth of its images.

    Attributes
    ----------
    schedule
        State of the heart and of the breath at every line of every frame.
    trigger_delays_ms
        (heartbeats,) how late each trigger fired.
    spikes
        Which samples were hit, once `acquire` has run.
    """

    schedule: LineSchedule
    trigger_delays_ms: NDArray[np.float64]
    spikes: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def plan(
        cls,
        protocol: Protocol,
        faults: Sequence[Fault],
        rng: np.random.Generator,
        *,
        cycle_ms: float,
        variation: float = 0.02,
        order: str = "interleaved",
        prospective: bool = False,
    ) -> "BreathHold":
        """Draw the heartbeats and the state of each line.

        Parameters
        ----------
        protocol
            Its `heartbeats` are acquired.
        faults
            In the order in which they act.
        cycle_ms
            The anatomy's heartbeat.
        variation
            SD over mean of the R-R interval in sinus rhythm within a breath hold.
        order, prospective
            As for `segmented`.
        """
        durations = cycle_ms * np.clip(rng.normal(1.0, variation, size=protocol.heartbeats), 0.5, 1.5)
        delays = np.zeros(len(durations))
        for fault in faults:
            durations = fault.heartbeats(durations, rng)
        for fault in faults:
            delays = delays + fault.trigger_delays(durations, rng)
        by_time = any(fault.gated_by_time() for fault in faults)
        nominal = float(np.mean(durations)) if by_time else None
        schedule = segmented(
            protocol, durations, cycle_ms, order=order, nominal_ms=nominal, delays_ms=delays, prospective=prospective
        )
        for fault in faults:
            schedule = fault.schedule(schedule, protocol, rng)
        return cls(schedule, delays)

    @property
    def nominal_ms(self) -> float:
        """Mean R-R interval: the heartbeat over which the scanner spreads the frames."""
        return float(np.mean(self.schedule.durations_ms))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able ground truth."""
        return {
            "schedule": self.schedule.as_dict(),
            "trigger_delays_ms": self.trigger_delays_ms.tolist(),
            "spikes": self.spikes,
        }

    def kspace(
        self,
        objects: Any,
        encoding: CartesianEncoding,
        protocol: Protocol,
        faults: Sequence[Fault],
        rng: np.random.Generator,
    ) -> tuple[Any, list[dict[str, Any]]]:
        """Noise-free k-space of every frame, and the spikes in it.

        Parameters
        ----------
        objects
            (phases, ..., fine rows, fine columns) at evenly spaced cardiac phases from 0; a single one is a heart that
            stands still.
        """
        states = _of_all(objects, encoding.forward)
        samples = assemble(states, self.schedule, protocol)
        spikes: list[dict[str, Any]] = []
        for fault in faults:
            samples, found = fault.kspace(samples, rng)
            spikes += found
        return _acquired(samples, spikes, encoding)


def line_by_line(protocol: Protocol, faults: Sequence[Fault]) -> list[str]:
    """What makes a breath hold go line by line, by name; nothing where every frame is one moment of the heart."""
    segments = ["segments"] if protocol.segmented else []
    return segments + [fault.name for fault in faults if fault.by_line]


def acquire_channels(
    objects: Any,
    acquisition: ChannelAcquisition,
    faults: Sequence[Fault],
    rng: np.random.Generator,
    *,
    cycle_ms: float,
    noise_sd: float = 0.0,
    hold: BreathHold | None = None,
) -> tuple[Iterator[Any], BreathHold]:
    """Every channel's noisy k-space (coils, acquired rows, acquired columns), frame after frame, and what happened.

    The breath moves the body through the coils, which stay where they are. Hand each k-space to
    `ChannelAcquisition.reconstruct` for its image, or write it as raw data. The states of all phases are held in
    memory: (phases, coils, acquired rows, acquired columns).

    Parameters
    ----------
    objects
        (phases, fine rows, fine columns) signal at evenly spaced cardiac phases from 0.
    hold
        What `BreathHold.plan` drew from `rng` before; None plans it here.
    """
    protocol = acquisition.protocol
    plan = BreathHold.plan(protocol, faults, rng, cycle_ms=cycle_ms) if hold is None else hold
    samples = _through_fixed_coils(objects, acquisition, plan.schedule)
    spikes: list[dict[str, Any]] = []
    for fault in faults:
        samples, found = fault.kspace(samples, rng)
        spikes += found
    samples, spikes = _acquired(samples, spikes, acquisition.encoding)

    def frames() -> Iterator[Any]:
        for frame in samples:
            yield acquisition.with_noise(frame, rng, noise_sd)

    return frames(), BreathHold(plan.schedule, plan.trigger_delays_ms, spikes)


def _acquired(
    samples: Any, spikes: list[dict[str, Any]], encoding: CartesianEncoding
) -> tuple[Any, list[dict[str, Any]]]:
    """k-space and spikes where samples are acquired: a spark while no line is read out goes unheard."""
    if encoding.sampled is None or not spikes:
        return samples, spikes
    return encoding.masked(samples), [s for s in spikes if encoding.sampled[s["row"], s["column"]]]


def _through_fixed_coils(objects: Any, acquisition: ChannelAcquisition, schedule: LineSchedule) -> Any:
    """(frames, coils, acquired rows, acquired columns) noise-free k-space of a body that moves, coils that do not.

    Tissue that the breath has moved by d is heard with the sensitivity of where it is then, S(r + d). Sensitivities
    are smooth, so that between no and the farthest displacement they are taken to change linearly, and likewise across
    it where the breath goes several ways: k-space is then a sum of two or three, each weighted line by line.
    """
    protocol, maps = acquisition.protocol, acquisition.object_sensitivities
    moved = schedule.displacement_mm
    terms = [(maps, np.ones(moved.shape[:2]))]
    for way in _ways(moved):
        share = moved @ way / (way @ way)
        terms[0] = (maps, terms[0][1] - share)
        terms.append((_moved(maps, *(-way / np.array(acquisition.object_pixel_mm))), share))
    total: Any = None
    for sensitivities, weight in terms:
        states = _of_all(objects, partial(acquisition.encoded, sensitivities=sensitivities))
        part = assemble(states, schedule, protocol)
        if len(terms) > 1:
            part = part * beside(np.expand_dims(weight, (1, 3) if protocol.phase_axis == -2 else (1, 2)), part)
        total = part if total is None else total + part
    return total


def _of_all(objects: Any, encode: Callable[[Any], Any]) -> Any:
    """k-space (phases, ...) of objects (phases, ...): tensors at once, NumPy's one by one, which stay in cache."""
    return encode(objects) if is_torch(objects) else np.stack([encode(state) for state in objects])


def _moved(maps: Any, rows: float, columns: float) -> Any:
    """(coils, rows, columns) maps as seen from this many samples away, linearly interpolated; edges go on."""
    for axis, step in ((-2, rows), (-1, columns)):
        xp, last = array_namespace(maps), maps.shape[axis] - 1
        place = np.clip(np.arange(last + 1) - step, 0, last)
        low = np.minimum(np.floor(place).astype(np.int64), max(last - 1, 0))
        share = beside((place - low)[:, None] if axis == -2 else place - low, maps)
        first, second = (xp.take(maps, beside(index, maps), axis=axis) for index in (low, np.minimum(low + 1, last)))
        maps = first + share * (second - first)
    return maps


def _ways(moved: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The farthest displacement (2,) among those of all lines (frames, lines, 2), and the farthest across it."""
    along = moved.reshape(-1, 2)[np.argmax(np.sum(moved**2, axis=-1))]
    if not np.any(along):
        return []
    unit = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    across = moved @ unit
    farthest = across.flat[np.argmax(np.abs(across))]
    return [along] if abs(farthest) < 1e-6 * np.linalg.norm(along) else [along, farthest * unit]
