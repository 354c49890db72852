"""In what arithmetic a run computes, and that the same run gives the same weights on the same type of machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from CMRSimExtension.networks.half_precision import cpu_is_faster_in_bfloat16

_memory: Any = torch.utils.deterministic
"""A module whose one attribute is a property, which type checkers do not see."""

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED_WORKSPACE = ":4096:8"
"""The larger of the two settings with which cuBLAS repeats its results (NVIDIA's cuBLAS documentation, "Results
reproducibility")."""


@contextmanager
def repeatable() -> Iterator[None]:
    """Let torch take algorithms that give the same bits every time, as long as the block lasts.

    An operation that has none goes on, with a warning of torch's that names it. Of what the networks and losses of
    this library do on a GPU none is known to be left: convolutions, max pooling in three dimensions and the slopes of
    linear interpolation have repeatable forms in torch 2.13, the cross-entropy is taken from class probabilities
    there (`losses`), and the augmentation, which has no slopes, samples forwards only. That was read in torch's
    documentation; no GPU was there to try it on. On a CPU the algorithms are the same ones with and without.
    """
    workspace = os.environ.get(_WORKSPACE)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, fill = torch.backends.cudnn.benchmark, _memory.fill_uninitialized_memory
    os.environ.setdefault(_WORKSPACE, _FIXED_WORKSPACE)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would write NaN into every new tensor first, which finds mistakes and costs time; no result depends on it.
    _memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark, _memory.fill_uninitialized_memory = benchmark, fill
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = workspace


def lightning_precision(choice: str, device: str) -> Any:
    """What Lightning calls a `precision` of `Optimisation` on a device (``auto``, ``cpu`` or ``cuda``)."""
    if choice == "auto":
        gpu = device != "cpu" and torch.cuda.is_available()
        fast = torch.cuda.is_bf16_supported() if gpu else cpu_is_faster_in_bfloat16()
        return "bf16-mixed" if fast else "32-true"
    if choice == "16" and not (device != "cpu" and torch.cuda.is_available()):
        # Gradient scaling is for GPUs; a CPU that has no float16 arithmetic takes what it computes fastest.
        return lightning_precision("auto", device)
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[choice]
