"""What goes wrong in real scans, on demand and with its ground truth.

A fault is a frozen value with an amount. It acts at one stage of a scan, and each stage has one method; a stage that a
fault does not touch returns its input as it was:

===================  =====================================================================================
``narrow``           the protocol: a field of view too small for the body
``slice_shifts_mm``  the geometry: where the breath stood in each slice's breath hold
``off_resonance``    the static field
``blood``            the signal of moving blood
``heartbeats``       lengths of a breath hold's heartbeats
``trigger_delays``   when the trigger fired
``schedule``         the state in which each k-space line is acquired
``kspace``           the samples themselves
===================  =====================================================================================

Randomness comes from the generator that is passed in, and what was drawn is part of what is returned: shifts,
heartbeats, schedules and spikes are the ground truth.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch, on_device_of
from CMRSimExtension.physics.flow import dephasing, inflow_enhancement
from CMRSimExtension.scanner.off_resonance import OffResonanceField
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.segmented import LineSchedule


@dataclass(frozen=True)
class Fault:
    """Base of all faults: acts on nothing.

    Attributes
    ----------
    amount
        How much of it; each fault names its unit, its default and its limits.
    """

    amount: float = 0.0

    name: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    limits: ClassVar[tuple[float, float]] = (0.0, 0.0)
    by_line: ClassVar[bool] = False
    """Whether it acts on single lines or samples of k-space, so that a breath hold has to be put together from them."""

    def __post_init__(self) -> None:
        low, high = self.limits
        if not low <= self.amount <= high:
            raise InputError(
                f"the amount of {self.name} is {self.amount}; choose a value from {low:g} to {high:g} {self.unit}"
            )

    def narrow(self, protocol: Protocol) -> Protocol:
        """The protocol that is really run."""
        return protocol

    def slice_shifts_mm(self, slices: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(slices, 3) RAS: how far the body lay from where it was planned."""
        return np.zeros((slices, 3))

    def off_resonance(self, field: OffResonanceField, rng: np.random.Generator) -> OffResonanceField:
        """The static field with the fault in it."""
        return field

    def blood(self, velocity_mm_s: Any, normal: Any, protocol: Protocol) -> Any:
        """(n,) factor on the signal of blood moving at velocities (n, 3) RAS through slices with this normal."""
        return array_namespace(velocity_mm_s).ones(len(velocity_mm_s), **on_device_of(velocity_mm_s))

    def heartbeats(self, durations_ms: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """(heartbeats,) R-R intervals of one breath hold."""
        return durations_ms

    def gated_by_time(self) -> bool:
        """Whether the scanner sorts by time after the trigger, for want of heartbeats of equal length."""
        return False

    def trigger_delays(self, durations_ms: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """(heartbeats,) delay of each trigger, in ms."""
        return np.zeros(len(durations_ms))

    def schedule(self, schedule: LineSchedule, protocol: Protocol, rng: np.random.Generator) -> LineSchedule:
        """States of the lines of one slice."""
        return schedule

    def kspace(self, samples: Any, rng: np.random.Generator) -> tuple[Any, list[dict[str, Any]]]:
        """Samples (frames, ..., rows, columns) with the fault in them, and what was done to them."""
        return samples, []

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: name and parameters."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class RespiratoryGhosting(Fault):
    """Breathing during the acquisition: lines are shifted, and ghosts repeat along the phase direction.

    Tags are shifted with the body, though a scanner lays them anew, where it stands, at every trigger.

    Attributes
    ----------
    amount
        Peak-to-peak motion in mm.
    period_ms
        Of breathing.
    direction
        Share of the motion along (rows, columns).
    """

    amount: float = 5.0
    period_ms: float = 3500.0
    direction: tuple[float, float] = (1.0, 0.2)
    by_line: ClassVar[bool] = True
    name: ClassVar[str] = "ghosting"
    unit: ClassVar[str] = "mm peak to peak"
    limits: ClassVar[tuple[float, float]] = (0.0, 40.0)

    def schedule(self, schedule: LineSchedule, protocol: Protocol, rng: np.random.Generator) -> LineSchedule:
        start, stretch = rng.uniform(), rng.uniform(0.85, 1.15)
        phase = schedule.since_start_ms / (self.period_ms * stretch) + start
        # 0 at end expiration, 1 at end inspiration; cos^4 dwells at the former (Lujan AE et al., Med Phys
        # 1999;26:715-720).
        depth = np.cos(np.pi * phase) ** 4
        direction = np.asarray(self.direction, dtype=np.float64)
        length = float(np.linalg.norm(direction))
        if not length > 0:
            raise InputError("direction of ghosting is (0, 0); give it a length")
        moved = self.amount * depth[..., None] * direction / length
        return replace(schedule, displacement_mm=schedule.displacement_mm + moved)


@dataclass(frozen=True)
class BreathHoldDrift(Fault):
    """Each slice is a breath hold of its own, at a slightly different depth: slices do not fit together.

    Attributes
    ----------
    amount
        SD of the depth in mm; the body moves mostly towards the feet or the head, and a little forwards.
    """

    amount: float = 4.0
    name: ClassVar[str] = "drift"
    unit: ClassVar[str] = "mm"
    limits: ClassVar[tuple[float, float]] = (0.0, 30.0)

    def slice_shifts_mm(self, slices: int, rng: np.random.Generator) -> NDArray[np.float64]:
        depth = self.amount * rng.standard_normal(slices)
        # Shechter G et al., IEEE Trans Med Imaging 2004;23:1046-1056: on inspiration the heart moves 4.9 mm towards the
        # feet and 1.3 mm forwards.
        return depth[:, None] * np.array([0.0, 0.25, -1.0])


@dataclass(frozen=True)
class Mistriggering(Fault):
    """Some heartbeats are triggered late (on the T wave, say), so their lines see another phase of the heart.

    Tags are as if laid at the true R wave, though a scanner lays them when it is triggered.

    Attributes
    ----------
    amount
        Share of the heartbeats.
    delay_ms
        Shortest and longest delay of such a trigger.
    """

    amount: float = 0.25
    delay_ms: tuple[float, float] = (150.0, 350.0)
    by_line: ClassVar[bool] = True
    name: ClassVar[str] = "mistriggering"
    unit: ClassVar[str] = "(share of heartbeats)"
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def trigger_delays(self, durations_ms: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        wrong = rng.uniform(size=len(durations_ms)) < self.amount
        return np.where(wrong, rng.uniform(*self.delay_ms, size=len(durations_ms)), 0.0)


@dataclass(frozen=True)
class Arrhythmia(Fault):
    """Heartbeats of unequal length, as in atrial fibrillation, and premature beats with their pauses.

    Attributes
    ----------
    amount
        SD of the R-R interval over its mean; 0.2 is common in atrial fibrillation.
    ectopic
        Share of heartbeats that come early and are followed by a pause that makes up for it.
    """

    amount: float = 0.2
    ectopic: float = 0.1
    by_line: ClassVar[bool] = True
    name: ClassVar[str] = "arrhythmia"
    unit: ClassVar[str] = "(SD over mean)"
    limits: ClassVar[tuple[float, float]] = (0.0, 0.5)

    def heartbeats(self, durations_ms: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        count = len(durations_ms)
        spread = np.sqrt(np.log1p(self.amount**2))
        durations = durations_ms * np.exp(spread * rng.standard_normal(count) - 0.5 * spread**2)
        early = rng.uniform(size=count) < self.ectopic
        for beat in np.flatnonzero(early):
            cut = 0.35 * durations[beat]
            durations[beat] -= cut
            if beat + 1 < count:
                durations[beat + 1] += cut
        return np.clip(durations, 300.0, 2500.0)

    def gated_by_time(self) -> bool:
        return True


@dataclass(frozen=True)
class BloodFlow(Fault):
    """Fast blood shines where it enters the slice and fades where its velocities are disordered.

    Attributes
    ----------
    amount
        1 is as expected of these velocities; more exaggerates.
    disorder
        SD of velocity over speed within a voxel.
    """

    amount: float = 1.0
    disorder: float = 0.3
    name: ClassVar[str] = "flow"
    unit: ClassVar[str] = "(times)"
    limits: ClassVar[tuple[float, float]] = (0.0, 5.0)

    def blood(self, velocity_mm_s: Any, normal: Any, protocol: Protocol) -> Any:
        velocity = velocity_mm_s if is_torch(velocity_mm_s) else np.asarray(velocity_mm_s, dtype=np.float64)
        xp, velocity = array_namespace(velocity), self.amount * velocity
        fading = dephasing(xp.linalg.vector_norm(velocity, axis=-1), disorder=self.disorder)
        fresh = inflow_enhancement(
            *((1441.0, 290.0) if protocol.field_t == 1.5 else (1664.0, 275.0)),
            velocity @ beside(normal, velocity),
            slice_thickness_mm=protocol.slice_thickness_mm,
            repetition_time_ms=protocol.repetition_time_ms,
            flip_angle_deg=protocol.flip_angle_deg,
            sequence=protocol.sequence,
        )
        return fresh * fading


@dataclass(frozen=True)
class Banding(Fault):
    """A frequency adjusted on the wrong peak or place: bSSFP bands move into the heart.

    Attributes
    ----------
    amount
        Shift of the centre frequency in Hz; bands lie at half the inverse repetition time.
    """

    amount: float = 120.0
    name: ClassVar[str] = "banding"
    unit: ClassVar[str] = "Hz"
    limits: ClassVar[tuple[float, float]] = (-1000.0, 1000.0)

    def off_resonance(self, field: OffResonanceField, rng: np.random.Generator) -> OffResonanceField:
        return replace(field, centre_frequency_hz=field.centre_frequency_hz + self.amount)


@dataclass(frozen=True)
class Spikes(Fault):
    """Sparks in the room: single k-space samples far too large, a corduroy pattern over the image.

    Attributes
    ----------
    amount
        Mean number in each slice's series.
    strength
        Magnitude over that of the largest sample.
    """

    amount: float = 3.0
    strength: float = 1.0
    by_line: ClassVar[bool] = True
    name: ClassVar[str] = "spikes"
    unit: ClassVar[str] = "in each slice"
    limits: ClassVar[tuple[float, float]] = (0.0, 1000.0)

    def kspace(self, samples: Any, rng: np.random.Generator) -> tuple[Any, list[dict[str, Any]]]:
        xp = array_namespace(samples)
        # Where a spark falls and how large it is does not follow the object: it has no gradient.
        largest = float(xp.max(xp.abs(samples.detach() if is_torch(samples) else samples)))
        spiked, truth = xp.astype(samples, samples.dtype, copy=True), []
        for _ in range(int(rng.poisson(self.amount))):
            frame, row, column = (int(rng.integers(n)) for n in (samples.shape[0], *samples.shape[-2:]))
            value = self.strength * largest * np.exp(2j * np.pi * rng.uniform())
            # A spark is heard by all channels alike.
            spiked[frame, ..., row, column] += value
            truth.append({"frame": frame, "row": row, "column": column, "value": [value.real, value.imag]})
        return spiked, truth


@dataclass(frozen=True)
class SmallFieldOfView(Fault):
    """A field of view too small along the phase direction: the body folds over into the image.

    Attributes
    ----------
    amount
        Share of the field of view that is left out.
    """

    amount: float = 0.3
    name: ClassVar[str] = "aliasing"
    unit: ClassVar[str] = "(share of the field of view)"
    limits: ClassVar[tuple[float, float]] = (0.0, 0.7)

    def narrow(self, protocol: Protocol) -> Protocol:
        axis = 0 if protocol.phase_direction == "rows" else 1
        fov, matrix = list(protocol.fov_mm), list(protocol.matrix)
        # An even number that the acceleration divides, so that the narrowed image can still be unfolded.
        step = 2 * protocol.acceleration
        kept = max(step, round(matrix[axis] * (1 - self.amount) / step) * step)
        fov[axis] *= kept / matrix[axis]
        matrix[axis] = kept
        return protocol.replace(fov_mm=(fov[0], fov[1]), matrix=(matrix[0], matrix[1]))


FAULTS: dict[str, type[Any]] = {
    kind.name: kind
    for kind in (
        RespiratoryGhosting,
        BreathHoldDrift,
        Mistriggering,
        Arrhythmia,
        BloodFlow,
        Banding,
        Spikes,
        SmallFieldOfView,
    )
}
"""Faults by the name that the command line takes."""


def narrowed(protocol: Protocol, faults: Iterable[Fault]) -> Protocol:
    """The protocol that is really run where `protocol` is asked for: see `Fault.narrow`."""
    for fault in faults:
        protocol = fault.narrow(protocol)
    return protocol


def parse_fault(text: str) -> Fault:
    """A fault from ``NAME`` or ``NAME=AMOUNT``.

    Raises
    ------
    InputError
        For an unknown name or an amount that is not a number.
    """
    name, _, amount = text.partition("=")
    if name not in FAULTS:
        raise InputError(f"there is no fault {name!r}; choose from {', '.join(FAULTS)}")
    try:
        keywords = {"amount": float(amount)} if amount else {}
    except ValueError as error:
        raise InputError(f"the amount of {name} is {amount!r}; give a number") from error
    fault: Fault = FAULTS[name](**keywords)
    return fault


def fault_from_dict(record: dict[str, Any]) -> Fault:
    """The inverse of `Fault.as_dict`."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k != "name"}
    if record.get("name") not in FAULTS:
        raise InputError(f"there is no fault {record.get('name')!r}; choose from {', '.join(FAULTS)}")
    fault: Fault = FAULTS[record["name"]](**values)
    return fault
