"""Numerics on tensors that do not lie on the CPU.

torch's meta device computes no values, but turns down, as a GPU does, every operation on tensors of two devices:
whatever forgets to follow its input is found without a GPU.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("array_api_compat")

from CMRSimExtension.physics.bloch import (  # noqa: E402
    Delay,
    Isochromats,
    Magnetisation,
    Pulse,
    Spoiler,
    bssfp_reference,
    play,
    shaped_pulse,
    spoiled_gre_reference,
)
from CMRSimExtension.physics.flow import dephasing, inflow_enhancement  # noqa: E402
from CMRSimExtension.physics.gre import ernst_angle_deg  # noqa: E402
from CMRSimExtension.scanner.coils import CoilArray  # noqa: E402
from CMRSimExtension.scanner.rendering import render  # noqa: E402
from CMRSimExtension.scanner.sense import SenseUnfolding  # noqa: E402
from Testing.scanner.test_rendering import SEQUENCE, TISSUE, encoding, fractions  # noqa: E402

MAPS = np.ones((3, 24, 20), np.complex64)
TIMING = {name: value for name, value in SEQUENCE.items() if name != "field_t"}


def far(*shape: int, dtype: Any = None) -> Any:
    """A tensor (of float32 unless told otherwise) that lies elsewhere."""
    return torch.empty(shape, dtype=dtype or torch.float32, device="meta")


def complex_far(*shape: int) -> Any:
    return far(*shape, dtype=torch.complex64)


def isochromats() -> Isochromats:
    return Isochromats(far(10), far(10), 0.9, far(10), far(10, 2))


def rendered(sequence: str, **more: Any) -> Any:
    tissue = {name: far(3) for name in TISSUE}
    return render(far(*fractions().shape), encoding(), sequence=sequence, **(tissue | SEQUENCE | more))


@pytest.mark.parametrize("sequence", ["bssfp", "gre"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {name: value.astype(np.float32) for name, value in TISSUE.items()},
        {"off_resonance_hz": far(24, 20), "flip_angle_deg": far()},
        {"sensitivities": MAPS},
        {"sensitivities": complex_far(3, 24, 20), "noise": np.ones((3, 14, 13), np.complex64)},
        {"sensitivities": np.ones((24, 20), np.float32), "noise": complex_far(14, 13)},
    ],
    ids=["tissue there", "tissue as NumPy", "field there", "maps as NumPy", "noise as NumPy", "noise there"],
)
def test_images_are_rendered_where_the_fractions_lie(sequence: str, more: dict[str, Any]) -> None:
    image = rendered(sequence, **more)
    assert image.device.type == "meta" and image.shape == (18, 16) and image.dtype == torch.float32


@pytest.mark.parametrize(
    "compute",
    [
        lambda: encoding().forward(complex_far(2, 24, 20)),
        lambda: encoding().forward_adjoint(complex_far(2, 14, 13)),
        lambda: encoding().reconstruct(complex_far(2, 14, 13)),
        lambda: encoding().reconstruct_adjoint(complex_far(2, 18, 16)),
        lambda: SenseUnfolding(MAPS, 2, -2).unfold(complex_far(3, 24, 20)),
        lambda: CoilArray.ring(4, np.zeros(3)).sensitivities(far(10, 3)),
        lambda: ernst_angle_deg(far(3), 5.0),
        lambda: dephasing(far(3)),
        lambda: inflow_enhancement(
            1441.0, 290.0, far(3), slice_thickness_mm=8.0, repetition_time_ms=3.0, flip_angle_deg=50.0, sequence="bssfp"
        ),
        lambda: bssfp_reference(isochromats(), **TIMING),
        lambda: spoiled_gre_reference(isochromats(), **TIMING),
    ],
)
def test_results_lie_where_the_input_does(compute: Callable[[], Any]) -> None:
    assert compute().device.type == "meta"


def test_a_sequence_is_played_where_the_isochromats_lie() -> None:
    pulse = shaped_pulse([0.5, 1.0, 0.5], 30.0, 1.0, gradient_mt_per_m=[0.0, 5.0])
    state: Magnetisation = play(isochromats(), [*pulse, Delay(2.0), Spoiler(), Pulse(10.0)])
    assert state.transverse.device.type == state.longitudinal.device.type == "meta"


def test_the_device_is_one_that_turns_down_what_lies_elsewhere() -> None:
    with pytest.raises(RuntimeError, match="device"):
        far(3) * torch.ones(3)
