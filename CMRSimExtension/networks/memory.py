"""When a network does not fit the memory."""

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, a GPU's or, where it has no error of its own for it, the processor's."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
