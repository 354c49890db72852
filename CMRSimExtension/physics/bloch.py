"""An isochromat simulator of the Bloch equations: the reference that the closed forms are held against.

Every isochromat is a small volume with one frequency. A sequence is a list of events (pulses, delays with gradients,
ideal spoilers) and each acts exactly: pulses are rotations, and between them the magnetisation precesses and relaxes by
the closed solution of the Bloch equations, so there is no step size and no integration error. Shaped pulses are trains
of short hard pulses.

Signs: free precession is exp(+i 2 pi df t); a pulse of phase p tips +z towards (cos p, sin p).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, as_arrays
from CMRSimExtension.physics.bssfp import TWO_PI

GAMMA_BAR_HZ_PER_T = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi (CODATA 2018)."""
_CYCLES_PER_MM_PER_MT_MS_PER_M = GAMMA_BAR_HZ_PER_T * 1e-9
"""Cycles per mm made by a gradient area of 1 mT ms/m: 42.577e6 Hz/T * 1e-6 T s/m * 1e-3 m/mm."""


@dataclass(frozen=True)
class Isochromats:
    """What precesses.

    Attributes
    ----------
    t1_ms, t2_ms, proton_density, off_resonance_hz
        Numbers or arrays that broadcast to one shape ``(...)``.
    position_mm
        ``(..., d)`` coordinates along the d gradient axes, or None where no gradient plays.
    """

    t1_ms: Any
    t2_ms: Any
    proton_density: Any = 1.0
    off_resonance_hz: Any = 0.0
    position_mm: Any = None

    def prepared(self) -> "Isochromats":
        """The same, as floating-point arrays of one library and one precision."""
        values = [self.t1_ms, self.t2_ms, self.proton_density, self.off_resonance_hz]
        if self.position_mm is None:
            _, arrays = as_arrays(*values)
            return Isochromats(*arrays)
        _, arrays = as_arrays(*values, self.position_mm)
        return Isochromats(*arrays)


@dataclass(frozen=True)
class Magnetisation:
    """State of all isochromats: transverse Mx + iMy (complex) and longitudinal Mz (real)."""

    transverse: Any
    longitudinal: Any

    @classmethod
    def equilibrium(cls, isochromats: Isochromats) -> "Magnetisation":
        """Mz = M0, no transverse magnetisation, of the isochromats' common shape."""
        iso = isochromats.prepared()
        mz = iso.proton_density + 0.0 * (iso.t1_ms + iso.t2_ms + iso.off_resonance_hz)
        if iso.position_mm is not None:
            mz = mz + 0.0 * iso.position_mm[..., 0]
        return cls(0j * mz, mz)


@dataclass(frozen=True)
class Pulse:
    """A hard RF pulse.

    Attributes
    ----------
    flip_angle_deg, phase_deg
        Numbers, or arrays over isochromats (an inhomogeneous transmit field).
    """

    flip_angle_deg: Any
    phase_deg: Any = 0.0

    def apply(self, state: Magnetisation, isochromats: Isochromats) -> Magnetisation:
        xp, (flip, phase, mz) = as_arrays(self.flip_angle_deg, self.phase_deg, state.longitudinal)
        half = 0.5 * flip * (TWO_PI / 360.0)
        direction = xp.exp(1j * phase * (TWO_PI / 360.0))
        cos2, sin2, sin_flip = xp.cos(half) ** 2, xp.sin(half) ** 2, xp.sin(2 * half)
        mxy = state.transverse
        # Rotation about the axis at phase + 90 degrees: the component along the phase direction turns with Mz.
        along = xp.real(mxy * xp.conj(direction))
        rotated = cos2 * mxy - sin2 * direction**2 * xp.conj(mxy) + sin_flip * mz * direction
        return Magnetisation(rotated, (cos2 - sin2) * mz - sin_flip * along)


@dataclass(frozen=True)
class Delay:
    """Free precession and relaxation, with or without gradients.

    Attributes
    ----------
    duration_ms
        Time; 0 for an instantaneous gradient lobe.
    gradient_area_mt_ms_per_m
        Area of the gradient played meanwhile along each of the position axes, in mT ms/m, or None.
    """

    duration_ms: Any
    gradient_area_mt_ms_per_m: Sequence[float] | None = None

    def apply(self, state: Magnetisation, isochromats: Isochromats) -> Magnetisation:
        iso = isochromats
        xp = array_namespace(iso.t1_ms, self.duration_ms, state.longitudinal)
        e1 = xp.exp(-self.duration_ms / iso.t1_ms)
        e2 = xp.exp(-self.duration_ms / iso.t2_ms)
        cycles = 1e-3 * self.duration_ms * iso.off_resonance_hz
        if self.gradient_area_mt_ms_per_m is not None:
            if iso.position_mm is None:
                raise InputError("a gradient needs isochromats with position_mm; give each its coordinates")
            if iso.position_mm.shape[-1] != len(self.gradient_area_mt_ms_per_m):
                raise InputError(
                    f"a gradient along {len(self.gradient_area_mt_ms_per_m)} axes meets positions along "
                    f"{iso.position_mm.shape[-1]}; give one area for each axis"
                )
            for axis, area in enumerate(self.gradient_area_mt_ms_per_m):
                cycles = cycles + _CYCLES_PER_MM_PER_MT_MS_PER_M * area * iso.position_mm[..., axis]
        turn = xp.exp(1j * TWO_PI * cycles)
        recovered = state.longitudinal * e1 - iso.proton_density * xp.expm1(-self.duration_ms / iso.t1_ms)
        return Magnetisation(state.transverse * (e2 * turn), recovered)


@dataclass(frozen=True)
class Spoiler:
    """Ideal spoiling: all transverse magnetisation is lost."""

    def apply(self, state: Magnetisation, isochromats: Isochromats) -> Magnetisation:
        return Magnetisation(0 * state.transverse, state.longitudinal)


Event = Pulse | Delay | Spoiler


def play(isochromats: Isochromats, events: Iterable[Event], start: Magnetisation | None = None) -> Magnetisation:
    """Magnetisation after `events`, from `start` or from equilibrium."""
    iso = isochromats.prepared()
    state = Magnetisation.equilibrium(iso) if start is None else start
    for event in events:
        state = event.apply(state, iso)
    return state


def steady_state(isochromats: Isochromats, events: Sequence[Event]) -> Magnetisation:
    """Magnetisation that one period of `events` leaves as it found it, just before the first of them.

    A period is an affine map M -> A M + b of the three components; A and b are found by playing it from the origin and
    from the three unit vectors, and (1 - A) M = b is solved for every isochromat. It equals the limit of endless
    repetition, to rounding, without the 20 T1 that repetition takes to settle to 1e-12.

    Raises
    ------
    InputError
        Where `events` take no time, so that nothing makes the state steady.
    """
    if not any(isinstance(event, Delay) for event in events):
        raise InputError("a period without a Delay has no steady state; add the repetition time")
    iso = isochromats.prepared()
    zero = Magnetisation.equilibrium(iso)
    zero = Magnetisation(0 * zero.transverse, 0 * zero.longitudinal)
    xp = array_namespace(zero.longitudinal)

    def vector(state: Magnetisation) -> Any:
        return xp.stack([xp.real(state.transverse), xp.imag(state.transverse), state.longitudinal], axis=-1)

    offset = vector(play(iso, events, zero))
    units = [
        replace(zero, transverse=zero.transverse + 1),
        replace(zero, transverse=zero.transverse + 1j),
        replace(zero, longitudinal=zero.longitudinal + 1),
    ]
    columns = [vector(play(iso, events, unit)) - offset for unit in units]
    matrix = xp.eye(3, dtype=offset.dtype, device=offset.device) - xp.stack(columns, axis=-1)
    solution = xp.linalg.solve(matrix, offset[..., None])[..., 0]
    return Magnetisation(solution[..., 0] + 1j * solution[..., 1], solution[..., 2])


def shaped_pulse(
    amplitudes: Sequence[float],
    flip_angle_deg: float,
    duration_ms: float,
    *,
    phase_deg: float = 0.0,
    gradient_mt_per_m: Sequence[float] | None = None,
) -> list[Event]:
    """A shaped, possibly slice-selective pulse as a train of hard pulses.

    Each of the n samples is a hard pulse in the middle of its interval; relaxation, off-resonance and the gradient act
    between them. The train converges as 1/n^2.

    Parameters
    ----------
    amplitudes
        Envelope, any scale; scaled so that its samples' flip angles add up to `flip_angle_deg`.
    flip_angle_deg, phase_deg
        On resonance, and direction.
    duration_ms
        Length of the pulse.
    gradient_mt_per_m
        Gradient amplitude along each position axis during the pulse, or None.

    Raises
    ------
    InputError
        For an empty envelope, or one whose samples add up to nothing.
    """
    total = float(sum(amplitudes))
    if len(amplitudes) == 0 or abs(total) < 1e-12:
        raise InputError(f"the pulse's {len(amplitudes)} samples add up to {total}; give an envelope with area")
    step = duration_ms / len(amplitudes)
    area = None if gradient_mt_per_m is None else [g * step / 2 for g in gradient_mt_per_m]
    half = Delay(step / 2, area)
    events: list[Event] = []
    for amplitude in amplitudes:
        events += [half, Pulse(flip_angle_deg * amplitude / total, phase_deg), half]
    return events


def bssfp_reference(
    isochromats: Isochromats, *, repetition_time_ms: float, echo_time_ms: float, flip_angle_deg: float
) -> Any:
    """Steady-state bSSFP signal by Bloch simulation, demodulated by each pulse's phase; what `bssfp_signal` must equal.

    Two repetitions, of pulse phases 0 and 180 degrees, make one period.
    """
    period: list[Event] = []
    for phase in (0.0, 180.0):
        period += [Pulse(flip_angle_deg, phase), Delay(repetition_time_ms)]
    state = steady_state(isochromats, period)
    return play(isochromats, [Pulse(flip_angle_deg, 0.0), Delay(echo_time_ms)], state).transverse


def spoiled_gre_reference(
    isochromats: Isochromats, *, repetition_time_ms: float, echo_time_ms: float, flip_angle_deg: float
) -> Any:
    """Steady-state signal of an ideally spoiled gradient echo by Bloch simulation."""
    period: list[Event] = [Pulse(flip_angle_deg), Delay(repetition_time_ms), Spoiler()]
    state = steady_state(isochromats, period)
    return play(isochromats, [Pulse(flip_angle_deg), Delay(echo_time_ms)], state).transverse
