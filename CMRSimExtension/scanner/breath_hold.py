"""One slice's breath hold: heartbeats, triggers, breath and sparks put into k-space, line by line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.scanner.acquisition import Acquisition
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
        """
        durations = cycle_ms * np.clip(rng.normal(1.0, variation, size=protocol.heartbeats), 0.5, 1.5)
        delays = np.zeros(len(durations))
        for fault in faults:
            durations = fault.heartbeats(durations, rng)
        for fault in faults:
            delays = delays + fault.trigger_delays(durations, rng)
        by_time = any(fault.gated_by_time() for fault in faults)
        nominal = float(np.mean(durations)) if by_time else None
        schedule = segmented(protocol, durations, cycle_ms, order=order, nominal_ms=nominal, delays_ms=delays)
        for fault in faults:
            schedule = fault.schedule(schedule, protocol, rng)
        return cls(schedule, delays)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able ground truth."""
        return {
            "schedule": self.schedule.as_dict(),
            "trigger_delays_ms": self.trigger_delays_ms.tolist(),
            "spikes": self.spikes,
        }

    def kspace(
        self,
        objects: NDArray[Any],
        encoding: CartesianEncoding,
        protocol: Protocol,
        faults: Sequence[Fault],
        rng: np.random.Generator,
        *,
        still: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], list[dict[str, Any]]]:
        """Noise-free k-space of every frame, and the spikes in it.

        Parameters
        ----------
        objects
            (phases, ..., fine rows, fine columns) at evenly spaced cardiac phases from 0; a single one is a heart that
            stands still.
        still
            (..., fine rows, fine columns): the part of the object that the breath does not move, and that `objects` do
            not hold.
        """
        states = np.stack([encoding.forward(state) for state in objects])
        resting = None if still is None else encoding.forward(still)
        samples = assemble(states, self.schedule, protocol, still=resting)
        spikes: list[dict[str, Any]] = []
        for fault in faults:
            samples, found = fault.kspace(samples, rng)
            spikes += found
        return samples, spikes


def acquire_breath_hold(
    objects: NDArray[Any],
    protocol: Protocol,
    faults: Sequence[Fault],
    rng: np.random.Generator,
    *,
    cycle_ms: float,
    noise_sd: float = 0.0,
    still: NDArray[Any] | None = None,
    workers: int = 1,
) -> tuple[NDArray[np.float32], BreathHold]:
    """One slice's images with everything that happened during its breath hold, channels combined (the fast path).

    Parameters
    ----------
    objects
        (phases, fine rows, fine columns) signal at evenly spaced cardiac phases from 0; more phases than the protocol
        has frames follow the motion within a frame more closely.
    protocol
        The protocol that is really run (after `Fault.narrow`).
    faults
        May be empty: then lines still come from heartbeats of slightly different length.
    rng
        Source of heartbeats, faults and noise.
    cycle_ms
        The anatomy's heartbeat.
    noise_sd
        As for `CMRSimExtension.scanner.acquisition.Acquisition.magnitude`.
    still
        (fine rows, fine columns) the part of the object that the breath does not move, not held by `objects`.

    Returns
    -------
    images, truth
        (phases of the protocol, rows, columns) float32, and what happened.
    """
    acquisition = Acquisition(protocol, (int(objects.shape[-2]), int(objects.shape[-1])), workers)
    plan = BreathHold.plan(protocol, faults, rng, cycle_ms=cycle_ms)
    samples, spikes = plan.kspace(objects, acquisition.encoding, protocol, faults, rng, still=still)
    images = acquisition.from_kspace(samples.astype(np.complex64, copy=False), rng, noise_sd)
    return images, BreathHold(plan.schedule, plan.trigger_delays_ms, spikes)


def acquire_channels(
    objects: NDArray[Any],
    acquisition: ChannelAcquisition,
    faults: Sequence[Fault],
    rng: np.random.Generator,
    *,
    cycle_ms: float,
    noise_sd: float = 0.0,
) -> tuple[Iterator[NDArray[Any]], BreathHold]:
    """Every channel's noisy k-space (coils, acquired rows, acquired columns), frame after frame, and what happened.

    Hand each to `ChannelAcquisition.reconstruct` for its image, or write it as raw data. The states of all phases are
    held in memory: (phases, coils, acquired rows, acquired columns).
    """
    protocol = acquisition.protocol
    plan = BreathHold.plan(protocol, faults, rng, cycle_ms=cycle_ms)
    weighted = (state * acquisition.object_sensitivities for state in objects)
    states = np.stack([acquisition.encoding.forward(state) for state in weighted])
    samples = assemble(states, plan.schedule, protocol)
    spikes: list[dict[str, Any]] = []
    for fault in faults:
        samples, found = fault.kspace(samples, rng)
        spikes += found

    def frames() -> Iterator[NDArray[Any]]:
        for frame in samples:
            yield acquisition.with_noise(frame, rng, noise_sd)

    return frames(), BreathHold(plan.schedule, plan.trigger_delays_ms, spikes)
