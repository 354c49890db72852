"""Spoiled gradient echo (GRE): the other cine sequence, used at 3 T and for tagging readouts.

Ernst RR, Anderson WA, *Application of Fourier transform spectroscopy to magnetic resonance*, Rev Sci Instrum
1966;37:93-102.
"""

from typing import Any

from CMRSimExtension.physics.array_namespace import as_arrays
from CMRSimExtension.physics.bssfp import TWO_PI, check_timing


def spoiled_gre_signal(
    t1_ms: Any,
    t2_star_ms: Any,
    proton_density: Any,
    off_resonance_hz: Any,
    *,
    repetition_time_ms: Any,
    echo_time_ms: Any,
    flip_angle_deg: Any,
) -> Any:
    """Complex steady-state signal of an ideally spoiled gradient echo.

    ::

        M+ = M0 sin a (1-E1) / (1 - E1 cos a) * exp(-TE/T2*) * exp(i 2 pi df TE)

    Ideal spoiling leaves no transverse magnetisation before each pulse. Arguments, signs and result as for
    `CMRSimExtension.physics.bssfp.bssfp_signal`, with T2* in place of T2.

    Raises
    ------
    InputError
        For a scalar TE outside [0, TR].
    """
    check_timing(repetition_time_ms, echo_time_ms)
    xp, (t1, t2_star, m0, df, tr, te, flip) = as_arrays(
        t1_ms, t2_star_ms, proton_density, off_resonance_hz, repetition_time_ms, echo_time_ms, flip_angle_deg
    )
    flip = flip * (TWO_PI / 360.0)
    e1 = xp.exp(-tr / t1)
    amplitude = m0 * xp.sin(flip) * -xp.expm1(-tr / t1) / (1 - e1 * xp.cos(flip)) * xp.exp(-te / t2_star)
    phase = TWO_PI * 1e-3 * df * te
    return amplitude * xp.cos(phase) + 1j * (amplitude * xp.sin(phase))


def ernst_angle_deg(t1_ms: Any, repetition_time_ms: Any) -> Any:
    """Flip angle of the strongest spoiled gradient echo: cos a = exp(-TR/T1) (Ernst and Anderson 1966)."""
    xp, (t1, tr) = as_arrays(t1_ms, repetition_time_ms)
    return xp.acos(xp.exp(-tr / t1)) * (360.0 / TWO_PI)
