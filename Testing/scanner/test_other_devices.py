"""Numerics on tensors that do not lie on the CPU.

torch's meta device computes no values, but turns down, as a GPU does, every operation on tensors of two devices, and
hands no values to NumPy: whatever forgets to follow its input is found without a GPU. Functions that look at values (is
there anything in the heart?) cannot run there; they run on tensors that let single numbers be read, as a GPU does, and
turn down to become NumPy arrays or to go to the CPU.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("array_api_compat")

import CMRSimExtension.scanner  # noqa: E402
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
from CMRSimExtension.scanner.rendering import render  # noqa: E402
from Testing.scanner.on_arrays import NUMERICS, Numerics  # noqa: E402
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


DEVICE_CLEAN = [numerics for numerics in NUMERICS if not numerics.reads]
READ_VALUES = [numerics for numerics in NUMERICS if numerics.reads]


@pytest.mark.parametrize("numerics", DEVICE_CLEAN, ids=str)
def test_the_scanner_works_where_its_input_lies(numerics: Numerics) -> None:
    values = numerics.values()
    expected = numerics.work(values)
    got = numerics.work(far(*values.shape, dtype=torch.float32 if numerics.real else torch.complex64))
    assert got.device.type == "meta" and tuple(got.shape) == expected.shape
    assert got.dtype == (torch.complex64 if np.iscomplexobj(expected) else torch.float32)


@pytest.mark.parametrize("numerics", [numerics for numerics in DEVICE_CLEAN if numerics.batched], ids=str)
def test_gradients_come_back_to_where_the_input_lies(numerics: Numerics) -> None:
    shape = numerics.values().shape
    tensor = far(2, *shape, dtype=torch.float32 if numerics.real else torch.complex64).requires_grad_()
    numerics.work(tensor).abs().sum().backward()
    assert tensor.grad is not None and tensor.grad.device.type == "meta"


class Kept(torch.Tensor):
    """A tensor that stays where it is: it becomes no NumPy array and goes to no CPU, but single numbers may be read."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("numpy", "__array__", "cpu", "tolist", "__array_wrap__"):
            raise AssertionError(f"a tensor was taken from its device by {name}")
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("numerics", READ_VALUES, ids=str)
def test_what_reads_values_leaves_tensors_where_they_are(numerics: Numerics) -> None:
    tensor = torch.from_numpy(numerics.values()).as_subclass(Kept)
    assert isinstance(numerics.work(tensor), Kept)


def test_a_kept_tensor_tells_when_it_is_taken() -> None:
    tensor = torch.ones(3).as_subclass(Kept)
    for take in (np.asarray, np.abs, lambda t: t.cpu(), lambda t: t.numpy()):
        with pytest.raises(AssertionError, match="taken"):
            take(tensor)


ELSEWHERE = {"mixed_signal", "render"}
"""With tests above."""
PLANNING = {
    # From protocols, grids, counts and generators, not from arrays of a signal: tables, geometry, schedules, records.
    "widen", "margin_of_body", "narrowed", "ReceiveField.on", "OffResonanceField.on", "CoilArray.on", "on_grid",
    "at_indices", "noise_map_on",
    "ImageGrid.points_mm", "plan", "finer_grid", "slice_normal", "frequencies", "apodisation", "along_phase",
    "uniform_lines", "partial_fourier_lines", "homodyne_weights", "noise_gain_of", "line_by_line", "slice_samples",
    "LineSchedule.states", "LineSchedule.of_frames", "segmented", "radial", "golden_angle", "of_protocol",
    "random_protocol", "Protocol.replace", "Receiver.plan", "Receiver.noise_map", "Receiver.noise_readouts",
    "ChannelAcquisition.noise_sd_of_channels", "parse_fault", "fault_from_dict",
}  # fmt: skip
FAULTS_OF_PLANNING = {
    "narrow", "slice_shifts_mm", "off_resonance", "heartbeats", "gated_by_time", "trigger_delays", "schedule", "kspace",
    "blood", "as_dict",
}  # fmt: skip


def public_functions() -> set[str]:
    """Functions and methods of the scanner, as they are named in its modules."""
    found = set()
    for module in pkgutil.iter_modules(CMRSimExtension.scanner.__path__):
        members = vars(importlib.import_module(f"CMRSimExtension.scanner.{module.name}")).items()
        for name, member in members:
            if name.startswith("_") or not getattr(member, "__module__", "").endswith(f"scanner.{module.name}"):
                continue
            if inspect.isfunction(member):
                found.add(name)
            elif inspect.isclass(member):
                methods = (key for key, value in vars(member).items() if inspect.isfunction(value))
                found |= {f"{name}.{key}" for key in methods if not key.startswith("_") and key != "as_dict"}
    return found


def test_every_function_of_the_scanner_is_known_to_follow_its_input_or_to_take_no_signal() -> None:
    from CMRSimExtension.scanner.faults import FAULTS

    known = {numerics.name for numerics in NUMERICS} | ELSEWHERE | PLANNING
    known |= {f"{kind.__name__}.{method}" for kind in FAULTS.values() for method in FAULTS_OF_PLANNING}
    known |= {f"Fault.{method}" for method in FAULTS_OF_PLANNING}
    assert public_functions() - known == set()
    assert {name for name in known if name in PLANNING | ELSEWHERE} - public_functions() == set()
