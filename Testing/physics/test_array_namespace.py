"""Numerics on torch equal those on NumPy, and carry gradients."""

import subprocess
import sys

import numpy as np
import pytest

from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch, linear
from CMRSimExtension.physics.bloch import Isochromats, bssfp_reference
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.physics.gre import spoiled_gre_signal

SEQUENCE = {"repetition_time_ms": 3.0, "echo_time_ms": 1.4, "flip_angle_deg": 55.0}


@pytest.fixture
def torch():
    pytest.importorskip("array_api_compat")
    return pytest.importorskip("torch")


def tissue(dtype: type) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    values = (
        rng.uniform(300, 2000, 200),
        rng.uniform(30, 250, 200),
        rng.uniform(0.2, 1, 200),
        rng.uniform(-150, 150, 200),
    )
    return tuple(v.astype(dtype) for v in values)


def test_plain_numbers_use_numpy() -> None:
    assert array_namespace(1.0, 2) is np


@pytest.mark.parametrize("signal", [bssfp_signal, spoiled_gre_signal])
def test_torch_gives_the_numbers_of_numpy_to_single_precision(torch, signal) -> None:
    arrays = tissue(np.float32)
    expected = signal(*(a.astype(np.float64) for a in arrays), **SEQUENCE)
    got = signal(*(torch.from_numpy(a) for a in arrays), **SEQUENCE)
    assert got.dtype == torch.complex64
    # 1 - E1 is made by expm1, so single precision holds to a few units in the last place of signals of about 0.1.
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


def test_the_bloch_simulator_runs_on_torch(torch) -> None:
    arrays = tissue(np.float64)
    expected = bssfp_reference(Isochromats(*arrays), **SEQUENCE)
    got = bssfp_reference(Isochromats(*(torch.from_numpy(a) for a in arrays)), **SEQUENCE)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_the_signal_is_differentiable_in_tissue_and_sequence(torch) -> None:
    values = [
        torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (950.0, 55.0, 0.8, 35.0, 3.0, 1.4, 55.0)
    ]

    def magnitude(t1, t2, density, frequency, tr, te, flip):
        signal = bssfp_signal(t1, t2, density, frequency, repetition_time_ms=tr, echo_time_ms=te, flip_angle_deg=flip)
        return torch.abs(signal)

    assert torch.autograd.gradcheck(magnitude, values)


def test_numpy_numerics_never_import_torch() -> None:
    code = (
        "import sys, numpy; from CMRSimExtension.physics.bssfp import bssfp_signal;"
        "bssfp_signal(900.0, 50.0, 1.0, 0.0, repetition_time_ms=3.0, echo_time_ms=1.5, flip_angle_deg=60.0);"
        "sys.exit('torch' in sys.modules or 'array_api_compat' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tensors_of_classes_made_from_torchs_are_tensors(torch) -> None:
    class Annotated(torch.Tensor):
        """As MONAI's MetaTensor."""

    assert is_torch(torch.ones(3).as_subclass(Annotated)) and is_torch(torch.nn.Parameter(torch.ones(3)))
    assert not is_torch(torch.float32) and not is_torch(np.ones(3)) and not is_torch(None)


@pytest.mark.parametrize(
    ("value", "like", "expected"),
    [
        (np.ones(3), "float32", "float32"),
        (np.ones(3), "complex64", "float32"),
        (np.ones(3, np.complex64), "float64", "complex128"),
        (np.ones(3, bool), "float32", "bool"),
        (np.arange(3), "complex128", "int64"),
    ],
)
def test_constants_take_the_precision_of_what_they_stand_beside(torch, value, like: str, expected: str) -> None:
    assert str(beside(value, np.ones(2, like)).dtype) == expected
    assert str(beside(value, torch.ones(2, dtype=getattr(torch, like))).dtype) == f"torch.{expected}"
    assert beside(value, torch.ones(2, dtype=getattr(torch, like), device="meta")).device.type == "meta"


def test_constants_do_not_share_memory_with_what_they_were_made_from(torch) -> None:
    table = np.broadcast_to(np.float32(1.0), (3,))
    beside(table, torch.ones(2)).add_(1.0)
    assert table[0] == 1.0


def test_the_gradient_of_a_linear_operator_is_the_adjoint_it_comes_with(torch) -> None:
    x = torch.ones(2, requires_grad=True)
    linear(x, lambda v: 2 * v, lambda v: 5 * v).real.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [5.0, 5.0]
    assert linear(np.ones(2), lambda v: 2 * v, lambda v: 5 * v).tolist() == [2.0, 2.0]
