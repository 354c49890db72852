"""One slice position under one scan, with frames anywhere in the heartbeat: what training streams are made of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.aliasing import crop, fold, widen
from CMRSimExtension.scanner.breath_hold import BreathHold, line_by_line
from CMRSimExtension.scanner.faults import (
    Arrhythmia,
    Banding,
    BloodFlow,
    Fault,
    Mistriggering,
    RespiratoryGhosting,
    SmallFieldOfView,
    Spikes,
)
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.noise import noise_sd_for_snr
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.receiver import Receiver, amplification_in
from CMRSimExtension.scanner.segmented import LineSchedule
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.coil_placement import usual_array
from CMRSimExtension.simulation.scene import Preparation, SliceScene, VoxelContent, blood_factor_of

_SECOND_FAULT = 0.25
"""Share of faulty scans in which two things go wrong."""
_CENTRE = 0.15
"""Half the width of k-space's middle, as a share of it, whose lines decide which moment an image shows."""
_FEWEST_PIXELS = 20
"""A heart of fewer labelled pixels tells nothing of the signal level."""


def draw_faults(rng: np.random.Generator, protocol: Protocol, *, tagged: bool = False) -> tuple[Fault, ...]:
    """What goes wrong in a scan of one slice: one fault, at times two, of an amount that scans are still sent with.

    Drift between breath holds needs several slices and is not among them; balanced readouts alone have bands. Tags
    reckon the flow of blood themselves; and since every trigger lays them anew, in the scanner's coordinates, neither
    the breath nor a late trigger moves them as it moves the body, which `assemble` does not tell apart: scans with tags
    have neither. Sparks are counted in each frame, as frames are asked for one by one.
    """
    turn = rng.uniform(0.0, 2.0 * np.pi)
    kinds: list[Fault] = [
        Arrhythmia(float(rng.uniform(0.03, 0.2)), ectopic=float(rng.uniform(0.0, 0.15))),
        Spikes(float(rng.uniform(0.5, 3.0)), strength=float(10.0 ** rng.uniform(-2.0, -0.5))),
        SmallFieldOfView(float(rng.uniform(0.05, 0.4))),
    ]
    untagged: list[Fault] = [
        RespiratoryGhosting(float(rng.uniform(2.0, 9.0)), direction=(float(np.cos(turn)), float(np.sin(turn)))),
        Mistriggering(float(rng.uniform(0.05, 0.35))),
        BloodFlow(float(rng.uniform(0.3, 1.5))),
    ]
    shift = float(rng.uniform(40.0, 160.0) * rng.choice([-1.0, 1.0]))
    if not tagged:
        kinds += untagged
    if protocol.sequence == "bssfp":
        kinds.append(Banding(shift))
    count = 2 if rng.random() < _SECOND_FAULT else 1
    return tuple(kinds[index] for index in rng.permutation(len(kinds))[:count])


class SlicePosition:
    """A slice of a subject in front of a scanner, whose frames are asked for one by one.

    Parameters
    ----------
    subject, protocol, appearance
        What is scanned and how. Where a field of view is too small, it is scanned without acceleration.
    grid
        Geometry of the images; one slice. Where a field of view is too small (`SmallFieldOfView`), these are its
        images, and the body reaches beyond them.
    rng
        Source of what happens during the breath hold; `frame` draws the noise from it.
    faults
        What goes wrong.
    sub_samples
        Points per voxel, before those at borders.
    preparation
        Tagging, or None. With it the SNR of the protocol refers to all that is bright, not to the heart, whose signal
        the tags take.

    Raises
    ------
    InputError
        For a protocol of one phase whose breath hold goes line by line: it has no other moments for its lines to see.
    """

    def __init__(
        self,
        subject: Subject,
        protocol: Protocol,
        appearance: Appearance,
        grid: ImageGrid,
        rng: np.random.Generator,
        *,
        faults: Sequence[Fault] = (),
        sub_samples: int = 3,
        preparation: Preparation | None = None,
    ) -> None:
        self._margin = sum(_margin(fault, protocol) for fault in faults if isinstance(fault, SmallFieldOfView))
        if self._margin:
            # What folds in is unfolded channel by channel alone, which would take longer than all the rest.
            protocol = protocol.replace(acceleration=1)
        self._subject, self._protocol, self._appearance, self._grid = subject, protocol, appearance, grid
        self._rng, self._tagged = rng, preparation is not None
        field = appearance.off_resonance
        for fault in faults:
            field = fault.off_resonance(field, rng)
        self._scene = SliceScene(
            subject,
            protocol,
            appearance.with_off_resonance(field),
            widen(grid, protocol.phase_direction, self._margin),
            0,
            sub_samples=sub_samples,
            preparation=preparation,
            flow=blood_factor_of(faults, protocol),
        )
        self._receiver = Receiver(
            protocol,
            grid.shape[1:],
            usual_array(subject, protocol.coils) if protocol.acceleration > 1 else None,
            faults=tuple(fault for fault in faults if fault.by_line),
            cycle_ms=subject.cycle_ms,
            folded_pixels=self._margin,
            prospective=self._tagged,
        )
        self._noise_map = self._receiver.noise_map(grid)
        self._hold = self._receiver.plan(rng)
        if self._hold is not None and protocol.phases < 2:
            raise InputError(
                f"phases is {protocol.phases}, and {', '.join(line_by_line(protocol, faults))} take lines from several "
                "moments of the heartbeat; raise phases to 2 or more, or leave them out"
            )

    def frame(self, phase: float, time_ms: float | None = None) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """One image and its labels.

        Parameters
        ----------
        phase
            Cardiac phase in [0, 1). A breath hold that goes line by line has frames at the protocol's phases; it gives
            the nearest.
        time_ms
            After the R wave, for the preparation; None takes `phase` of the subject's heartbeat. Where a breath hold
            gives a frame of another phase, its time moves with it.

        Returns
        -------
        tuple
            (rows, columns) float32 magnitude with noise, and uint8 clinical labels of the moment that the lines in the
            middle of k-space saw, of heartbeat and breath alike.
        """
        hold = self._hold
        time_ms = phase * self._subject.cycle_ms if time_ms is None else time_ms
        if hold is not None:
            count = self._protocol.phases
            # After the last frame comes the first again, but not where the series begins anew with each trigger.
            number = min(round(phase * count), count - 1) if hold.schedule.prospective else round(phase * count) % count
            schedule, shown = _as_shown(hold.schedule.of_frames([number]))
            hold = replace(hold, schedule=schedule)
            time_ms += (number / count - phase) * self._subject.cycle_ms
            time_ms = max(time_ms + _wrapped(shown - number / count) * self._subject.cycle_ms, 0.0)
            phase = shown
        content = self._content(phase, time_ms)
        labels = self._cropped(self._scene.labels(content, "clinical"))
        whole = self._scene.image(content, time_ms)
        free = self._receiver.noise_free(self._folded(whole))
        heart = labels > 0
        if self._tagged or heart.sum() < _FEWEST_PIXELS:
            heart = free > 0.3 * np.quantile(free, 0.98)
        level = noise_sd_for_snr(free, heart, self._protocol.snr)
        objects = whole[None] if hold is None else self._states(hold, time_ms - phase * self._subject.cycle_ms)
        amplified = self._noise_map
        if amplified is not None:
            level /= amplification_in(amplified, heart[None])
        return self._receiver.receive(objects, self._grid, self._rng, level, amplified, hold).images[0], labels

    def _states(self, hold: BreathHold, late_ms: float) -> NDArray[np.complex64]:
        """(phases, rows, columns) objects at the protocol's phases; zero where no line of the breath hold looks."""
        count = self._protocol.phases
        low, high, _ = hold.schedule.states(count)
        states = np.zeros((count, *self._scene.shape), np.complex64)
        for number in np.union1d(low, high).tolist():
            time = max(number / count * self._subject.cycle_ms + late_ms, 0.0)
            states[number] = self._scene.image(self._content(number / count, time), time)
        return states

    def _content(self, phase: float, time_ms: float) -> VoxelContent:
        # Tags reckon the signal of blood themselves.
        blood = None if self._tagged else self._appearance.blood_at(self._subject, phase)
        return self._scene.beating(phase, blood, time_ms)

    def _folded(self, whole: NDArray[np.complex64]) -> NDArray[np.complex64]:
        return fold(whole, self._protocol.phase_direction, self._margin) if self._margin else whole

    def _cropped(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part within the field of view: what folds into it has no label there."""
        return crop(values, self._protocol.phase_direction, self._margin)


def _margin(fault: SmallFieldOfView, protocol: Protocol) -> int:
    """Pixels on both ends by which the whole field of view is wider than the protocol's, which has lost the share."""
    pixels = protocol.matrix[protocol.phase_axis]
    return round(0.5 * pixels * fault.amount / (1.0 - fault.amount))


def _as_shown(schedule: LineSchedule) -> tuple[LineSchedule, float]:
    """What the lines in the middle of k-space see of a single frame: they decide where an image shows its edges.

    Returns the schedule with the breath counted from where those lines met it, and their mean cardiac phase (around
    the heartbeat).
    """
    lines = schedule.cardiac.shape[1]
    reach = max(1, round(_CENTRE * lines))
    middle = slice(lines // 2 - reach, lines // 2 + reach)
    turns = np.exp(2j * np.pi * schedule.cardiac[0, middle]).mean()
    moved = schedule.displacement_mm - schedule.displacement_mm[:, middle].mean(axis=1, keepdims=True)
    # The remainder of what is hardly below 0 is 1, which is no phase.
    return replace(schedule, displacement_mm=moved), float(np.angle(turns) / (2.0 * np.pi) % 1.0) % 1.0


def _wrapped(difference: float) -> float:
    """The same difference of two phases in [-0.5, 0.5)."""
    return (difference + 0.5) % 1.0 - 0.5
