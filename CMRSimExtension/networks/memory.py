"""When a network does not fit the memory."""

import torch

_FULL = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What errors say for which torch has no type of its own: of the processor's memory, and of a GPU's that others have
filled, so that not even the driver or a library finds room on it."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, a GPU's or the processor's."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _FULL)
