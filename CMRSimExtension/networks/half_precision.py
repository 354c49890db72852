"""Whether a processor gains from half precision."""

from collections.abc import Mapping
from typing import Any

import torch


def cpu_is_faster_in_bfloat16() -> bool:
    """Whether this CPU has tiles that multiply matrices of bfloat16 (AMX).

    The vector instructions of AVX-512 multiply bfloat16, too, but convolutions by them took a quarter longer than by
    float32 (Xeon with AVX512_BF16 and no AMX, torch 2.13); elsewhere bfloat16 is emulated.
    """
    # A torch that cannot tell computes in float32.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))
