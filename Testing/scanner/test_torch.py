"""The scanner on torch: the numbers of NumPy to single precision, batches, and gradients down to the tissue."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("array_api_compat")
pytest.importorskip("finufft")

from CMRSimExtension.scanner.nonuniform import NonuniformEncoding  # noqa: E402
from CMRSimExtension.scanner.rendering import mixed_signal  # noqa: E402
from Testing.scanner import on_arrays  # noqa: E402
from Testing.scanner.on_arrays import NUMERICS, OBJECT, SPOKES, Numerics  # noqa: E402
from Testing.scanner.test_rendering import SEQUENCE, TISSUE  # noqa: E402

# A transform that is exact in double precision says in single precision that it cannot be.
pytestmark = pytest.mark.filterwarnings("ignore:FINUFFT eps tolerance too small")

BATCHED = [numerics for numerics in NUMERICS if numerics.batched]


@pytest.mark.parametrize("numerics", NUMERICS, ids=str)
def test_torch_gives_the_numbers_of_numpy_to_single_precision(numerics: Numerics) -> None:
    values = numerics.values()
    single = values.astype(np.float32 if numerics.real else np.complex64)
    expected = numerics.work(values)
    got = numerics.work(torch.from_numpy(single))
    assert isinstance(got, torch.Tensor) and got.dtype in (torch.float32, torch.complex64)
    assert got.is_complex() == np.iscomplexobj(expected)
    # Sums of some hundred terms in single precision, and the inverses of unfolding.
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("numerics", NUMERICS, ids=str)
def test_double_precision_stays_double_and_the_input_as_it_was(numerics: Numerics) -> None:
    tensor = torch.from_numpy(numerics.values())
    before = tensor.clone()
    assert numerics.work(tensor).dtype in (torch.float64, torch.complex128)
    assert torch.equal(tensor, before)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("numerics", BATCHED, ids=str)
def test_a_batch_is_each_of_its_members(numerics: Numerics, library: str) -> None:
    values = numerics.values(2, 3)
    batch = torch.from_numpy(values) if library == "torch" else values
    got = numerics.work(batch)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(got[index], numerics.work(batch[index]), atol=1e-6 * np.abs(np.asarray(got)).max())


@pytest.mark.parametrize("numerics", NUMERICS, ids=str)
def test_every_function_is_differentiable(numerics: Numerics) -> None:
    values = torch.from_numpy(numerics.values()).requires_grad_()
    assert torch.autograd.gradcheck(numerics.work, (values,), fast_mode=True, atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "shape"), [("forward", OBJECT), ("reconstruct", on_arrays.SAMPLES)], ids=["forward", "reconstruct"]
)
@pytest.mark.parametrize("code", [on_arrays.HOLES, on_arrays.RADIAL], ids=["Cartesian", "radial"])
def test_the_adjoint_on_torch_is_the_adjoint_and_the_gradient(code: Any, operator: str, shape: Any) -> None:
    if code is on_arrays.HOLES and operator == "reconstruct":
        shape = on_arrays.KSPACE
    x = torch.randn(2, *shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(1), requires_grad=True)
    result = getattr(code, operator)(x)
    y = torch.randn(result.shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(2))
    adjoint = getattr(code, operator + "_adjoint")(y)
    assert torch.vdot(y.flatten(), result.flatten()).item() == pytest.approx(
        torch.vdot(adjoint.flatten(), x.flatten()).item(), rel=1e-9
    )
    (gradient,) = torch.autograd.grad(result, x, y)
    torch.testing.assert_close(gradient, adjoint, rtol=0.0, atol=1e-12)


def test_operators_are_differentiated_twice_forwards_and_under_vmap() -> None:
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((2, *OBJECT)))
    tangent = torch.ones_like(image)
    for code in (on_arrays.HOLES, on_arrays.RADIAL):
        assert torch.autograd.gradgradcheck(
            lambda x, code=code: code.forward(x).abs() ** 2, (image.clone().requires_grad_(),), fast_mode=True
        )
        _, along = torch.func.jvp(code.forward, (image,), (tangent,))
        torch.testing.assert_close(along, code.forward(tangent))
        torch.testing.assert_close(torch.func.vmap(code.forward)(image), code.forward(image))


@pytest.mark.parametrize("operator", ["_transform", "_adjoint"])
def test_the_sums_written_out_for_other_devices_are_the_nonuniform_transform(
    monkeypatch: pytest.MonkeyPatch, operator: str
) -> None:
    # A few samples at a time, and not a whole number of times.
    monkeypatch.setattr("CMRSimExtension.scanner.nonuniform._AT_ONCE", 5 * 2 * OBJECT[1])
    code = NonuniformEncoding(OBJECT, OBJECT, SPOKES, precision=1e-13)
    shape = OBJECT if operator == "_transform" else on_arrays.SAMPLES
    values = torch.randn(2, *shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    written_out = code._sums if operator == "_transform" else code._spread
    expected = getattr(code, operator)(values, OBJECT)
    largest = expected.abs().max().item()
    torch.testing.assert_close(written_out(values, OBJECT), expected, rtol=0.0, atol=1e-10 * largest)


def test_a_root_sum_of_squares_of_nothing_has_no_gradient_rather_than_none_that_is_a_number() -> None:
    channels = torch.zeros(3, 4, 5, dtype=torch.complex64, requires_grad=True)
    on_arrays.root_sum_of_squares(channels).sum().backward()
    assert channels.grad is not None and torch.equal(channels.grad, torch.zeros_like(channels))


def test_homodyne_of_nothing_has_no_gradient_rather_than_none_that_is_a_number() -> None:
    samples = torch.zeros(on_arrays.KSPACE, dtype=torch.complex64, requires_grad=True)
    on_arrays.homodyne(samples, on_arrays.ASYMMETRIC, -2, 0.7).sum().backward()
    assert samples.grad is not None and torch.all(torch.isfinite(torch.view_as_real(samples.grad)))


def test_tables_first_made_in_inference_mode_serve_training_too() -> None:
    channels = on_arrays._channels(coil_combination="rss")
    image = torch.ones(OBJECT, dtype=torch.complex64)
    with torch.inference_mode():
        channels.reconstruct(channels.kspace(image))
    image.requires_grad_()
    channels.reconstruct(channels.kspace(image)).sum().backward()
    assert image.grad is not None and torch.any(image.grad != 0)


def test_the_noise_sd_is_differentiable() -> None:
    image = torch.from_numpy(np.random.default_rng(0).standard_normal(OBJECT))
    level = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for acquisition in (on_arrays.FAST, on_arrays.SQUARES):
        assert torch.autograd.gradcheck(
            lambda sd, a=acquisition: a.magnitude(image, np.random.default_rng(1), sd), (level,)
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"coil_combination": "rss"},
        {},
        {"acceleration": 2},
        {"acceleration": 2, "phase_direction": "columns"},
        on_arrays.PARTIAL,
        {**on_arrays.PARTIAL, "coil_combination": "rss"},
    ],
    ids=["rss", "adaptive", "SENSE", "SENSE columns", "homodyne", "homodyne rss"],
)
def test_the_image_of_all_channels_is_differentiable_in_tissue_and_sequence(changes: dict[str, Any]) -> None:
    channels = on_arrays._channels(**changes)
    parts = torch.from_numpy(np.random.default_rng(0).uniform(size=(3, *OBJECT)))
    tissue = [torch.from_numpy(TISSUE[name].copy()).requires_grad_() for name in TISSUE]
    sequence = [
        torch.tensor(SEQUENCE[name], dtype=torch.float64, requires_grad=True)
        for name in ("repetition_time_ms", "echo_time_ms", "flip_angle_deg")
    ]
    off = torch.linspace(-90.0, 90.0, parts[0].numel(), dtype=torch.float64).reshape(OBJECT)

    def image(t1: Any, t2: Any, density: Any, shift: Any, tr: Any, te: Any, flip: Any) -> Any:
        objects = mixed_signal(
            parts, t1, t2, density, shift, field_t=1.5, repetition_time_ms=tr, echo_time_ms=te, flip_angle_deg=flip,
            off_resonance_hz=off,
        )  # fmt: skip
        return channels.reconstruct(channels.kspace(objects, np.random.default_rng(5), 0.01)).abs()

    inputs = (*tissue, *sequence)
    assert torch.autograd.gradcheck(image, inputs, fast_mode=True, atol=1e-6)
    gradients = torch.autograd.grad(image(*inputs).sum(), inputs)
    assert all(torch.any(gradient != 0) for gradient in gradients)


def test_descent_through_all_channels_finds_t1_t2_and_flip_angle_again() -> None:
    channels = on_arrays._channels(acceleration=2)
    parts = torch.from_numpy(np.random.default_rng(0).uniform(size=(1, *OBJECT)))
    flips = torch.tensor([20.0, 45.0, 70.0], dtype=torch.float64)

    def image(t1: Any, t2: Any, scale: Any) -> Any:
        objects = mixed_signal(
            parts, t1, t2, torch.ones(1, dtype=torch.float64), 0.0 * t1, field_t=1.5, repetition_time_ms=3.0,
            echo_time_ms=1.4, flip_angle_deg=scale * flips,
        )  # fmt: skip
        return channels.reconstruct(channels.kspace(objects)).abs()

    truth = [torch.tensor([v], dtype=torch.float64) for v in (950.0, 56.0)] + [torch.tensor(0.9, dtype=torch.float64)]
    target = image(*truth)
    logs = [(1.25 * value).log().requires_grad_() for value in truth]
    optimiser = torch.optim.LBFGS(logs, lr=0.5, max_iter=200, tolerance_grad=1e-14, tolerance_change=1e-16)

    def loss() -> Any:
        optimiser.zero_grad()
        value = 1e4 * torch.mean((image(*(log.exp() for log in logs)) - target) ** 2)
        value.backward()
        return value

    optimiser.step(loss)
    # Three flip angles tell T1/T2 and the flip angle well; T1 and T2 apart only through the echo time.
    found = [float(log.detach().exp()) for log in logs]
    assert found[0] / found[1] == pytest.approx(950.0 / 56.0, rel=0.01)
    assert found[2] == pytest.approx(0.9, rel=0.01)
