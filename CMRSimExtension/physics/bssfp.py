"""Balanced steady-state free precession (bSSFP): the signal of cine images, with off-resonance.

Freeman R, Hill HDW, *Phase and intensity anomalies in Fourier transform NMR*, J Magn Reson 1971;4:366-383; written for
phase-alternated pulses and an echo at any time within the repetition.
"""

from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import as_arrays

TWO_PI = 6.283185307179586


def bssfp_signal(
    t1_ms: Any,
    t2_ms: Any,
    proton_density: Any,
    off_resonance_hz: Any,
    *,
    repetition_time_ms: Any,
    echo_time_ms: Any,
    flip_angle_deg: Any,
) -> Any:
    """Complex steady-state signal of phase-alternated bSSFP.

    With E1,2 = exp(-TR/T1,2), phi = 2 pi df TR, theta = phi + pi::

        M+ = M0 (1-E1) sin a (1 - E2 exp(-i theta)) / D * exp(-TE/T2) * exp(i 2 pi df TE)
        D  = (1 - E1 cos a)(1 - E2 cos theta) - E2 (E1 - cos a)(E2 - cos theta)

    Signs: free precession is exp(+i 2 pi df t), a pulse of phase 0 tips +z towards +x, and the signal is demodulated by
    each pulse's own alternating phase. The dark bands, with a phase jump of pi across them, lie at df = (n + 1/2)/TR.

    All arguments broadcast against each other and may be numbers, NumPy arrays or torch tensors (differentiably).

    Parameters
    ----------
    t1_ms, t2_ms
        Relaxation times.
    proton_density
        Equilibrium magnetisation M0.
    off_resonance_hz
        Frequency minus the scanner's, field inhomogeneity and chemical shift together.
    repetition_time_ms, echo_time_ms
        TR, and the time of the echo after the pulse.
    flip_angle_deg
        Flip angle.

    Returns
    -------
    array
        Complex, of the broadcast shape; complex64 where the inputs are float32.

    Raises
    ------
    InputError
        For a scalar TE outside [0, TR].
    """
    check_timing(repetition_time_ms, echo_time_ms)
    xp, (t1, t2, m0, df, tr, te, flip) = as_arrays(
        t1_ms, t2_ms, proton_density, off_resonance_hz, repetition_time_ms, echo_time_ms, flip_angle_deg
    )
    half_flip = flip * (TWO_PI / 720.0)
    one_minus_cos, one_plus_cos = 2 * xp.sin(half_flip) ** 2, 2 * xp.cos(half_flip) ** 2
    e2 = xp.exp(-tr / t2)
    one_minus_e1, one_minus_e2 = -xp.expm1(-tr / t1), -xp.expm1(-tr / t2)
    one_minus_e2_squared = -xp.expm1(-2 * tr / t2)
    phi = TWO_PI * 1e-3 * df * tr
    # D regrouped as (1-E1)(1+cos a)(1-E2 cos theta) + (1-E2^2)(E1 - cos a), with cos(theta) = -cos(phi): differences of
    # numbers near one are gone, so that single precision keeps six digits.
    one_minus_e2_cos_theta = one_minus_e2 + 2 * e2 * xp.cos(0.5 * phi) ** 2
    denominator = one_minus_e1 * one_plus_cos * one_minus_e2_cos_theta + one_minus_e2_squared * (
        one_minus_cos - one_minus_e1
    )
    amplitude = m0 * one_minus_e1 * xp.sin(2 * half_flip) * xp.exp(-te / t2) / denominator
    phase = TWO_PI * 1e-3 * df * te
    # (1 + E2 exp(-i phi)) exp(i phase), written out in reals: half the work of complex exponentials.
    return amplitude * (xp.cos(phase) + e2 * xp.cos(phase - phi)) + 1j * (
        amplitude * (xp.sin(phase) + e2 * xp.sin(phase - phi))
    )


def check_timing(repetition_time_ms: Any, echo_time_ms: Any) -> None:
    """Turn down an echo outside its repetition, where both are plain numbers."""
    if isinstance(repetition_time_ms, int | float) and not repetition_time_ms > 0:
        raise InputError(f"repetition_time_ms is {repetition_time_ms}; it must be above 0")
    if isinstance(repetition_time_ms, int | float) and isinstance(echo_time_ms, int | float):
        if not 0 <= echo_time_ms <= repetition_time_ms:
            raise InputError(
                f"echo_time_ms is {echo_time_ms}, outside 0 to the repetition time of {repetition_time_ms} ms; "
                "shorten it or lengthen the repetition"
            )
