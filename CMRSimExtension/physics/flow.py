"""What flow does to the signal of blood: fresh spins shine, disordered ones fade."""

from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import as_arrays
from CMRSimExtension.physics.bssfp import TWO_PI, bssfp_signal


def inflow_enhancement(
    t1_ms: Any,
    t2_ms: Any,
    through_plane_velocity_mm_s: Any,
    *,
    slice_thickness_mm: float,
    repetition_time_ms: float,
    flip_angle_deg: float,
    sequence: str = "bssfp",
) -> Any:
    """Signal of blood that crosses the slice, over that of blood that stays.

    A spin that enters at equilibrium starts with the signal S0 and approaches the steady state Sss by a factor L each
    repetition. With n repetitions spent in the slice, the mean over all spins in it is::

        1 + (S0/Sss - 1) (1 - L^n) / (n (1 - L))

    ``bssfp``: S0 = M0 sin(a/2), that of the half-angle preparation, and L = E1 cos^2(a/2) + E2 sin^2(a/2) (Scheffler K,
    Magn Reson Med 2003;49:781-783). ``gre``: S0 = M0 sin a and L = E1 cos a, exactly, with ideal spoiling.

    Parameters
    ----------
    through_plane_velocity_mm_s
        Speed across the slice; its sign does not matter.
    sequence
        ``bssfp`` or ``gre``; T2 plays no part in the latter.

    Returns
    -------
    array
        1 at rest, S0/Sss for spins that cross within one repetition.

    Raises
    ------
    InputError
        For another sequence.
    """
    xp, (t1, t2, velocity, thickness, tr, flip) = as_arrays(
        t1_ms, t2_ms, through_plane_velocity_mm_s, slice_thickness_mm, repetition_time_ms, flip_angle_deg
    )
    half = flip * (TWO_PI / 720.0)
    e1 = xp.exp(-tr / t1)
    if sequence == "bssfp":
        steady = xp.abs(bssfp_signal(t1, t2, 1.0, 0.0, repetition_time_ms=tr, echo_time_ms=0.0, flip_angle_deg=flip))
        fresh_over_steady = xp.sin(half) / steady
        per_repetition = e1 * xp.cos(half) ** 2 + xp.exp(-tr / t2) * xp.sin(half) ** 2
    elif sequence == "gre":
        per_repetition = e1 * xp.cos(2 * half)
        fresh_over_steady = (1 - per_repetition) / -xp.expm1(-tr / t1)
    else:
        raise InputError(f"sequence is {sequence!r}; choose from bssfp, gre")
    # At least one pulse makes the signal; a floor on the speed keeps the number of repetitions finite.
    speed = xp.abs(velocity) + 1e-6
    repetitions = thickness / (speed * tr * 1e-3)
    repetitions = xp.where(repetitions < 1.0, xp.ones_like(repetitions), repetitions)
    fresh = (1 - per_repetition**repetitions) / (repetitions * (1 - per_repetition))
    return 1 + (fresh_over_steady - 1) * fresh


def dephasing(speed_mm_s: Any, *, disorder: Any = 0.3, venc_mm_s: float = 1500.0) -> Any:
    """Factor on the signal of blood whose velocities differ within a voxel.

    Velocities spread by an SD of `disorder` times the speed give phases spread by pi v / VENC, so the mean falls as
    exp(-(pi sigma / VENC)^2 / 2) (Dyverfeldt P et al., Magn Reson Med 2006;56:850-858).

    Parameters
    ----------
    speed_mm_s
        Speed of the blood.
    disorder
        SD of velocity over speed within a voxel: 0.1 in laminar flow, 0.3 and more in jets.
    venc_mm_s
        Velocity that turns the phase by pi: the sequence's first gradient moment at the echo, here that of a typical
        cine readout.
    """
    xp, (speed, spread) = as_arrays(speed_mm_s, disorder)
    return xp.exp(-0.5 * (0.5 * TWO_PI * spread * speed / venc_mm_s) ** 2)
