"""What the operator sets at the console: one value for a whole cine protocol."""

import dataclasses
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError

SEQUENCES = ("bssfp", "gre")
FILTERS = ("none", "hamming", "tukey", "fermi")
PHASE_DIRECTIONS = ("rows", "columns")
PARTIAL_FOURIER_METHODS = ("zero_fill", "homodyne")
COMBINATIONS = ("adaptive", "rss")
TRAJECTORIES = ("cartesian", "radial", "golden_angle")
_OPTIONAL = ("slices", "spokes", "breath_hold_heartbeats")
_WHOLE = ("phases", "views_per_segment", "coils", "acceleration", *_OPTIONAL)
"""Attributes that count something."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A cine protocol.

    Pairs are ordered (rows, columns) like the image, but for `acquired_resolution_mm`, which is (phase, read) as
    scanners state it.

    Attributes
    ----------
    name, vendor
        Which preset, and whose scanner.
    field_t
        1.5 or 3.0 tesla.
    sequence
        ``bssfp`` or ``gre`` (spoiled).
    repetition_time_ms, echo_time_ms, flip_angle_deg
        Between successive RF pulses; from pulse to echo; flip angle.
    fov_mm
        Field of view (rows, columns).
    matrix
        Reconstructed (rows, columns), after zero-filling.
    acquired_resolution_mm
        (phase, read): field of view over the number of encoded samples.
    phase_direction
        Along which index the phase encoding runs: ``rows`` (from top to bottom of the image) or ``columns``.
    slice_thickness_mm, slice_gap_mm
        Full width at half maximum of a slice, and distance from slice to slice less that.
    slices
        How many, or None for as many as cover the heart.
    phases
        Cardiac phases (frames) in a heartbeat.
    views_per_segment
        Phase-encoding lines acquired in each phase of each heartbeat.
    segmented
        Whether a frame is put together from such segments, each line in the state of the heart at its own time: motion
        within a segment blurs, and heartbeats of sinus rhythm differ a little. Truths are those of the middle of the
        segment. Where a segment lasts longer than from frame to frame, neighbouring frames overlap, as with shared
        views. Otherwise a frame is one moment of the heart, unless a fault acts on single lines.
    snr
        Mean signal of the heart over the SD of the real part of the noise (Wissmann 2014), in the reconstructed image.
    partial_fourier
        Fraction of the phase-encoding lines that is acquired, 0.55 to 1.
    partial_fourier_method
        ``zero_fill`` leaves the missing lines zero, ``homodyne`` makes them up from conjugate symmetry.
    filter, filter_strength
        Apodisation of k-space and how much of it: 0 leaves k-space alone, 1 applies it in full.
    coils, coil_combination
        Receive channels; ``adaptive`` combination leaves Rician noise, ``rss`` (root sum of squares) lifts the floor.
    acceleration
        Uniform undersampling factor of parallel imaging (SENSE).
    trajectory, spokes
        ``cartesian``, ``radial`` or ``golden_angle``; number of spokes of a frame for the last two, or None for
        pi/2 times the acquired matrix over the acceleration.
    time_bandwidth
        Time-bandwidth product of the slice-selective pulse; a low one rounds the slice profile.
    breath_hold_heartbeats
        Heartbeats for a slice, or None to derive it from lines, acceleration and `views_per_segment`.

    Raises
    ------
    InputError
        For any value outside its limits; the message names value, limit and cure.
    """

    name: str = "custom"
    vendor: str = "generic"
    field_t: float = 1.5
    sequence: str = "bssfp"
    repetition_time_ms: float = 3.0
    echo_time_ms: float = 1.5
    flip_angle_deg: float = 60.0
    fov_mm: tuple[float, float] = (340.0, 340.0)
    matrix: tuple[int, int] = (256, 256)
    acquired_resolution_mm: tuple[float, float] = (1.9, 1.7)
    phase_direction: str = "rows"
    slice_thickness_mm: float = 8.0
    slice_gap_mm: float = 2.0
    slices: int | None = None
    phases: int = 25
    views_per_segment: int = 12
    segmented: bool = False
    snr: float = 30.0
    partial_fourier: float = 1.0
    partial_fourier_method: str = "zero_fill"
    filter: str = "tukey"
    filter_strength: float = 0.5
    coils: int = 12
    coil_combination: str = "adaptive"
    acceleration: int = 1
    trajectory: str = "cartesian"
    spokes: int | None = None
    time_bandwidth: float = 2.0
    breath_hold_heartbeats: int | None = None

    def __post_init__(self) -> None:
        for name, kind in (("fov_mm", float), ("matrix", int), ("acquired_resolution_mm", float)):
            object.__setattr__(self, name, _pair(name, getattr(self, name), kind))
        for name in _WHOLE:
            object.__setattr__(self, name, _whole(name, getattr(self, name), optional=name in _OPTIONAL))
        _one_of("sequence", self.sequence, SEQUENCES)
        _one_of("phase_direction", self.phase_direction, PHASE_DIRECTIONS)
        _one_of("partial_fourier_method", self.partial_fourier_method, PARTIAL_FOURIER_METHODS)
        _one_of("filter", self.filter, FILTERS)
        _one_of("coil_combination", self.coil_combination, COMBINATIONS)
        _one_of("trajectory", self.trajectory, TRAJECTORIES)
        if self.field_t not in (1.5, 3.0):
            raise InputError(f"field_t is {self.field_t}; choose 1.5 or 3.0 tesla")
        _within("repetition_time_ms", self.repetition_time_ms, 1.0, 100.0)
        _within("flip_angle_deg", self.flip_angle_deg, 1.0, 120.0)
        _number("echo_time_ms", self.echo_time_ms)
        if not 0.2 <= self.echo_time_ms < self.repetition_time_ms:
            raise InputError(
                f"echo_time_ms is {self.echo_time_ms}; it must be at least 0.2 and below the repetition time of "
                f"{self.repetition_time_ms} ms; shorten it or lengthen the repetition"
            )
        for value in self.fov_mm:
            _within("fov_mm", value, 50.0, 600.0)
        for value in self.matrix:
            _within("matrix", value, 16, 2048)
        for value in self.acquired_resolution_mm:
            _within("acquired_resolution_mm", value, 0.3, 10.0)
        _within("slice_thickness_mm", self.slice_thickness_mm, 0.5, 20.0)
        _within("slice_gap_mm", self.slice_gap_mm, 0.1 - self.slice_thickness_mm, 20.0)
        if self.slices is not None:
            _within("slices", self.slices, 1, 512)
        _within("phases", self.phases, 1, 200)
        _within("views_per_segment", self.views_per_segment, 1, 200)
        if not isinstance(self.segmented, bool):
            raise InputError(f"segmented is {self.segmented!r}; give true or false")
        if self.segmented and self.trajectory != "cartesian":
            raise InputError(
                f"segmented is true and trajectory {self.trajectory}; segments are Cartesian lines: choose cartesian "
                "or leave segmented out"
            )
        _within("snr", self.snr, 1.0, 1e6)
        _within("partial_fourier", self.partial_fourier, 0.55, 1.0)
        _within("filter_strength", self.filter_strength, 0.0, 1.0)
        _within("coils", self.coils, 1, 128)
        _within("acceleration", self.acceleration, 1, 8)
        if self.acceleration > self.coils:
            raise InputError(
                f"acceleration is {self.acceleration} with {self.coils} coils; it cannot exceed their number"
            )
        if self.spokes is not None:
            _within("spokes", self.spokes, 1, 4096)
        if self.breath_hold_heartbeats is not None:
            _within("breath_hold_heartbeats", self.breath_hold_heartbeats, 1, 1000)
        _within("time_bandwidth", self.time_bandwidth, 1.0, 20.0)
        for name, acquired, reconstructed in zip(("rows", "columns"), self.acquired_matrix, self.matrix, strict=True):
            if acquired > reconstructed:
                raise InputError(
                    f"matrix has {reconstructed} {name} but {acquired} are acquired; raise the matrix to at least "
                    "that, or make acquired_resolution_mm coarser"
                )
            if acquired < 8:
                raise InputError(f"only {acquired} {name} are acquired; make acquired_resolution_mm finer")

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Reconstructed pixel spacing (from row to row, from column to column)."""
        return self.fov_mm[0] / self.matrix[0], self.fov_mm[1] / self.matrix[1]

    @property
    def slice_spacing_mm(self) -> float:
        """From slice centre to slice centre."""
        return self.slice_thickness_mm + self.slice_gap_mm

    @property
    def acquired_matrix(self) -> tuple[int, int]:
        """Encoded samples (rows, columns) of the whole k-space, before undersampling and partial Fourier."""
        phase, read = self.acquired_resolution_mm
        by_axis = (phase, read) if self.phase_direction == "rows" else (read, phase)
        rows, columns = (int(round(fov / res)) for fov, res in zip(self.fov_mm, by_axis, strict=True))
        return rows, columns

    @property
    def phase_axis(self) -> int:
        """Image axis of the phase encoding: -2 for rows, -1 for columns."""
        return -2 if self.phase_direction == "rows" else -1

    @property
    def heartbeats(self) -> int:
        """Heartbeats that one slice takes."""
        if self.breath_hold_heartbeats is not None:
            return self.breath_hold_heartbeats
        lines = self.acquired_matrix[self.phase_axis] * self.partial_fourier / self.acceleration
        return max(1, int(np.ceil(lines / self.views_per_segment)))

    def replace(self, **changes: Any) -> "Protocol":
        """A copy with the named values changed; an unknown name is an `InputError`."""
        known = {f.name for f in dataclasses.fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise InputError(f"a protocol has no {', '.join(unknown)}; choose from {', '.join(sorted(known))}")
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` is its inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Protocol":
        """A protocol from its record; missing values take their defaults, unknown ones are an `InputError`."""
        return cls().replace(**record)

    @classmethod
    def preset(cls, name: str) -> "Protocol":
        """The preset of that name (see `CMRSimExtension.scanner.presets.PRESETS`)."""
        from CMRSimExtension.scanner.presets import PRESETS

        if name not in PRESETS:
            raise InputError(f"there is no protocol {name!r}; choose from {', '.join(PRESETS)}")
        return PRESETS[name]

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Protocol":
        """A realistic protocol of a random scanner, for domain randomisation."""
        from CMRSimExtension.scanner.presets import random_protocol

        return random_protocol(rng)


def _pair(name: str, value: Any, kind: type) -> tuple[Any, Any]:
    try:
        first, second = value
        pair = kind(first), kind(second)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {value!r}; give two numbers") from error
    if pair != (first, second):
        raise InputError(f"{name} is {value!r}; give two values of type {kind.__name__}")
    return pair


def _number(name: str, value: Any) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; give a number")


def _whole(name: str, value: Any, *, optional: bool) -> int | None:
    """`value` as a Python int; None where it may be left out."""
    if value is None and optional:
        return None
    _number(name, value)
    if not float(value).is_integer():
        raise InputError(f"{name} is {value}; give a whole number")
    return int(value)


def _within(name: str, value: float, low: float, high: float) -> None:
    _number(name, value)
    if not low <= value <= high:
        raise InputError(f"{name} is {value}; choose a value from {low:g} to {high:g}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}; choose from {', '.join(choices)}")
