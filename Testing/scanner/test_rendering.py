"""The differentiable forward model: torch equals NumPy, gradients are right, batches work."""

from typing import Any

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.kspace import CartesianEncoding, apodisation
from CMRSimExtension.scanner.rendering import mixed_signal, render

TISSUE = {
    "t1_ms": np.array([950.0, 1441.0, 288.0]),
    "t2_ms": np.array([56.0, 290.0, 165.0]),
    "proton_density": np.array([0.8, 0.95, 0.7]),
    "chemical_shift_ppm": np.array([0.0, 0.0, -3.4]),
}
SEQUENCE = {"field_t": 1.5, "repetition_time_ms": 3.0, "echo_time_ms": 1.4, "flip_angle_deg": 60.0}


@pytest.fixture
def torch() -> Any:
    pytest.importorskip("array_api_compat")
    return pytest.importorskip("torch")


def fractions(rows: int = 24, columns: int = 20, dtype: Any = np.float64) -> np.ndarray:
    parts = np.random.default_rng(0).uniform(size=(3, rows, columns))
    return (parts / parts.sum(axis=0)).astype(dtype)


def encoding() -> CartesianEncoding:
    return CartesianEncoding((24, 20), (14, 13), (18, 16), None, np.outer(apodisation("hamming", 0.5, 14), np.ones(13)))


def field(dtype: Any = np.float64) -> np.ndarray:
    return np.linspace(-120.0, 120.0, 480).reshape(24, 20).astype(dtype)


def test_the_signal_of_a_mixture_is_the_sum_of_its_parts() -> None:
    from CMRSimExtension.physics.bssfp import bssfp_signal

    signal = mixed_signal(fractions(), **TISSUE, **SEQUENCE, off_resonance_hz=field())
    timing = {k: v for k, v in SEQUENCE.items() if k != "field_t"}
    expected = sum(
        fractions()[i] * bssfp_signal(
            TISSUE["t1_ms"][i], TISSUE["t2_ms"][i], TISSUE["proton_density"][i],
            field() + TISSUE["chemical_shift_ppm"][i] * 1.5 * 42.577478518, **timing,
        )
        for i in range(3)
    )  # fmt: skip
    np.testing.assert_allclose(signal, expected, atol=1e-14)


@pytest.mark.parametrize("sequence", ["bssfp", "gre"])
@pytest.mark.parametrize("coils", [0, 3])
def test_torch_renders_the_images_of_numpy_to_single_precision(torch: Any, sequence: str, coils: int) -> None:
    rng = np.random.default_rng(1)
    maps = (rng.standard_normal((3, 24, 20)) + 1j * rng.standard_normal((3, 24, 20))) if coils else None
    extra = {"off_resonance_hz": field(), "sequence": sequence}
    expected = render(fractions(), encoding(), sensitivities=maps, **TISSUE, **SEQUENCE, **extra)
    tensors = {k: torch.from_numpy(v.astype(np.float32)) for k, v in TISSUE.items()}
    got = render(
        torch.from_numpy(fractions(dtype=np.float32)), encoding(),
        sensitivities=None if maps is None else torch.from_numpy(maps.astype(np.complex64)),
        **tensors, **SEQUENCE, off_resonance_hz=torch.from_numpy(field(np.float32)), sequence=sequence,
    )  # fmt: skip
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected, atol=5e-6)


def test_the_operators_give_on_torch_what_they_give_on_numpy(torch: Any) -> None:
    rng = np.random.default_rng(2)
    image = rng.standard_normal((2, 24, 20)) + 1j * rng.standard_normal((2, 24, 20))
    code = encoding()
    tensor = torch.from_numpy(image)
    np.testing.assert_allclose(code.image(tensor).numpy(), code.image(image), atol=1e-12)
    np.testing.assert_allclose(code.forward(tensor).numpy(), code.forward(image), atol=1e-12)
    kspace = code.forward(image)
    np.testing.assert_allclose(
        code.forward_adjoint(torch.from_numpy(kspace)).numpy(), code.forward_adjoint(kspace), atol=1e-12
    )


def test_the_image_is_differentiable_in_every_tissue_and_sequence_parameter(torch: Any) -> None:
    code = CartesianEncoding((8, 6), (5, 4), (6, 5))
    parts = torch.from_numpy(fractions(8, 6))
    off = torch.linspace(-90.0, 90.0, 48, dtype=torch.float64).reshape(8, 6)
    values = [torch.from_numpy(v.copy()).requires_grad_() for v in TISSUE.values()]
    values += [torch.tensor(SEQUENCE[k], dtype=torch.float64, requires_grad=True) for k in list(SEQUENCE)[1:]]
    values.append(off.requires_grad_())

    def image(t1, t2, density, shift, tr, te, flip, off_resonance):
        return render(
            parts, code, t1_ms=t1, t2_ms=t2, proton_density=density, chemical_shift_ppm=shift, field_t=1.5,
            repetition_time_ms=tr, echo_time_ms=te, flip_angle_deg=flip, off_resonance_hz=off_resonance,
        )  # fmt: skip

    assert torch.autograd.gradcheck(image, values, atol=1e-6)


def test_a_batch_of_flip_angles_renders_each_as_alone(torch: Any) -> None:
    flips = torch.tensor([30.0, 60.0, 90.0], dtype=torch.float64)
    tensors = {k: torch.from_numpy(v) for k, v in TISSUE.items()}
    sequence = {k: v for k, v in SEQUENCE.items() if k != "flip_angle_deg"}
    parts = torch.from_numpy(fractions())
    together = render(parts, encoding(), **tensors, **sequence, flip_angle_deg=flips)
    for index, flip in enumerate([30.0, 60.0, 90.0]):
        alone = render(parts, encoding(), **tensors, **sequence, flip_angle_deg=flip)
        np.testing.assert_allclose(together[index].numpy(), alone.numpy(), atol=1e-12)


def test_descent_through_the_scanner_finds_a_flip_angle_again(torch: Any) -> None:
    tensors = {k: torch.from_numpy(v) for k, v in TISSUE.items()}
    sequence = {k: v for k, v in SEQUENCE.items() if k != "flip_angle_deg"}
    parts = torch.from_numpy(fractions())
    target = render(parts, encoding(), **tensors, **sequence, flip_angle_deg=52.0)
    flip = torch.tensor(35.0, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([flip], lr=1.0)
    for _ in range(120):
        optimiser.zero_grad()
        loss = torch.mean((render(parts, encoding(), **tensors, **sequence, flip_angle_deg=flip) - target) ** 2)
        loss.backward()
        optimiser.step()
    assert float(flip.detach()) == pytest.approx(52.0, abs=0.5)


def test_fractions_of_other_tissues_are_turned_down() -> None:
    with pytest.raises(InputError, match="tissues"):
        mixed_signal(np.ones((4, 8, 8)), **TISSUE, **SEQUENCE)
