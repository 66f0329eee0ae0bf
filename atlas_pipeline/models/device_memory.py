"""Free memory and bfloat16 support of a device."""

from __future__ import annotations

import torch


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU: free in the driver, plus unused memory held by torch's allocator."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def has_bfloat16_products(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones: NVIDIA's from Ampere on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
