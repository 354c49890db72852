"""Half precision is taken where it is faster, not wherever it is possible."""

import pytest
import torch

from CMRSimExtension.networks.half_precision import cpu_is_faster_in_bfloat16
from CMRSimExtension.training.arithmetic import lightning_precision


@pytest.mark.parametrize(("capabilities", "faster"), [
    ({"avx512_bf16": True, "amx_bf16": True}, True), ({"avx512_bf16": True, "amx_bf16": False}, False), ({}, False),
])  # fmt: skip
def test_bfloat16_needs_tiles_that_multiply_it(monkeypatch, capabilities, faster):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert cpu_is_faster_in_bfloat16() is faster
    assert lightning_precision("auto", "cpu") == ("bf16-mixed" if faster else "32-true")


def test_a_torch_that_does_not_tell_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert cpu_is_faster_in_bfloat16() is False
