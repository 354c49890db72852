"""From tissue fractions to magnitude images in one differentiable expression, on NumPy or torch.

This is the whole forward model with the anatomy already sampled: fitting its tissue and sequence parameters to a real
scanner's images is gradient descent through it. Batches go in as leading axes. `render` combines channels by root sum
of squares; for the other reconstructions hand `mixed_signal` to `CMRSimExtension.scanner.multichannel`.
"""

from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import as_arrays
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.physics.gre import spoiled_gre_signal
from CMRSimExtension.scanner.kspace import CartesianEncoding
from CMRSimExtension.scanner.multichannel import root_sum_of_squares
from CMRSimExtension.scanner.off_resonance import HZ_PER_PPM_PER_T


def mixed_signal(
    fractions: Any,
    t1_ms: Any,
    t2_ms: Any,
    proton_density: Any,
    chemical_shift_ppm: Any,
    *,
    field_t: float,
    repetition_time_ms: Any,
    echo_time_ms: Any,
    flip_angle_deg: Any,
    off_resonance_hz: Any = 0.0,
    sequence: str = "bssfp",
) -> Any:
    """Complex signal of voxels that hold several tissues.

    Parameters
    ----------
    fractions
        (..., tissues, rows, columns) share of each tissue.
    t1_ms, t2_ms, proton_density, chemical_shift_ppm
        (..., tissues); for ``gre`` give T2* as `t2_ms`.
    off_resonance_hz
        Of water: a number or (..., rows, columns).
    repetition_time_ms, echo_time_ms, flip_angle_deg
        Numbers, or (...,) one for each of a batch.
    sequence
        ``bssfp`` or ``gre``.

    Returns
    -------
    array
        (..., rows, columns) complex.
    """
    if sequence not in ("bssfp", "gre"):
        raise InputError(f"sequence is {sequence!r}; choose from bssfp, gre")
    xp, (parts, t1, t2, density, shift, off, tr, te, flip) = as_arrays(
        fractions, t1_ms, t2_ms, proton_density, chemical_shift_ppm, off_resonance_hz, repetition_time_ms,
        echo_time_ms, flip_angle_deg,
    )  # fmt: skip
    if parts.ndim < 3 or parts.shape[-3] != t1.shape[-1]:
        raise InputError(
            f"fractions have shape {tuple(parts.shape)} and t1_ms {tuple(t1.shape)}; the third last axis of the one "
            "and the last of the other are the tissues and must agree"
        )
    t1, t2, density, shift = (v[..., None, None] for v in (t1, t2, density, shift))
    tr, te, flip = (v[..., None, None, None] if v.ndim else v for v in (tr, te, flip))
    if off.ndim:
        off = off[..., None, :, :]
    model = bssfp_signal if sequence == "bssfp" else spoiled_gre_signal
    signal = model(
        t1, t2, density, off + shift * (HZ_PER_PPM_PER_T * field_t),
        repetition_time_ms=tr, echo_time_ms=te, flip_angle_deg=flip,
    )  # fmt: skip
    return xp.sum(parts * signal, axis=-3)


def render(
    fractions: Any,
    encoding: CartesianEncoding,
    *,
    sensitivities: Any = None,
    noise: Any = None,
    **signal: Any,
) -> Any:
    """Magnitude images (..., rows, columns) of tissue fractions.

    Parameters
    ----------
    fractions
        (..., tissues, fine rows, fine columns).
    encoding
        Resolution, apodisation and zero-filling.
    sensitivities
        (coils, fine rows, fine columns) complex: channels are acquired one by one and combined by root sum of squares;
        or (fine rows, fine columns) real, a combined receive field; or None.
    noise
        (..., acquired rows, acquired columns) complex k-space noise to add, with the coils before the last two axes
        where there are some; or None. Handing it in keeps the image differentiable.
    signal
        As for `mixed_signal`.
    """
    xp, _ = as_arrays(fractions)
    objects = mixed_signal(fractions, **signal)
    by_channel = sensitivities is not None and sensitivities.ndim == 3
    if sensitivities is not None:
        _, (objects, weights) = as_arrays(objects, sensitivities)
        objects = (objects[..., None, :, :] if by_channel else objects) * weights
    samples = encoding.forward(objects)
    if noise is not None:
        _, (samples, noise) = as_arrays(samples, noise)
        samples = samples + noise
    images = encoding.reconstruct(samples)
    return root_sum_of_squares(images) if by_channel else xp.abs(images)
