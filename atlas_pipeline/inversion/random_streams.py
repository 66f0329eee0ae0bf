"""Random numbers as a pure function of (seed, stream, counter): SplitMix64.

An icon's random numbers must not depend on the other icons in its batch, the device or the torch release. A
stateful generator guarantees none of this; a hash of the counter guarantees all of it. The hash needs only
whole numbers, so any device computes the same.
Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """Two's complement int64 with the same 64 bits: torch has no unsigned 64-bit arithmetic."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(bits: Tensor, by: int) -> Tensor:
    """Logical right shift; torch's own shift is arithmetic and keeps the sign."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)


def _mix_(bits: Tensor) -> Tensor:
    """Mix in place: the numbers of a batch of icons are too many for a new tensor at each operation."""
    bits.bitwise_xor_(_shift_right(bits, 30)).mul_(_MIX_1)
    bits.bitwise_xor_(_shift_right(bits, 27)).mul_(_MIX_2)
    return bits.bitwise_xor_(_shift_right(bits, 31))


def uniform(seeds: Sequence[int], stream: int, num: int, device: torch.device | str = "cpu") -> Tensor:
    """Uniform numbers in the open interval (0, 1), one sequence per seed; equal to the bit on every device.

    Args:    seeds: one per icon, any integers (only their low 64 bits are used). stream: separates numbers
             that serve different purposes. num: numbers per seed; the first ones do not depend on it.
    Returns: (seed, num) float64 on the device.
    """
    keys = torch.tensor([_signed(seed % (1 << 64)) for seed in seeds], dtype=torch.int64, device=device)
    keys = _mix_(_mix_(keys + _GAMMA).add_(_signed(stream * _GAMMA % (1 << 64))))
    counters = torch.arange(1, num + 1, dtype=torch.int64, device=device)
    bits = _mix_(keys[:, None] + counters.mul_(_GAMMA))
    # The half step excludes 0, whose logarithm is infinite.
    return _shift_right(bits, 12).double().add_(0.5).mul_(2.0**-52)


def normal(seeds: Sequence[int], stream: int, num: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers by the Box-Muller transform; arguments as for `uniform`.

    Another device's logarithm and cosine may round the last bit of float64 differently.

    Returns: (seed, num) float64 on the device.
    """
    radius, angle = uniform(seeds, stream, 2 * num, device).view(len(seeds), num, 2).unbind(-1)
    return torch.log(radius).mul_(-2.0).sqrt_().mul_(torch.cos(2.0 * math.pi * angle))
