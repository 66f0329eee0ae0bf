"""Random numbers that are a pure function of (seed, stream, counter): SplitMix64.

An icon's numbers must not depend on which other icons share its batch, on the device, or on the release
of torch. A stateful generator promises none of these, a hash of the counter promises all three.
Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The two's complement int64 with the same 64 bits: torch has no arithmetic on unsigned 64-bit."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(bits: Tensor, by: int) -> Tensor:
    """Logical shift: torch's own keeps the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


def uniform(seeds: Sequence[int], stream: int, num: int) -> Tensor:
    """Numbers in the open interval (0, 1), for each seed its own.

    Args:    seeds: one an icon, any integers (their low 64 bits count). stream: tells apart what the numbers
             are for. num: how many for each seed; more of them leave the first ones as they are.
    Returns: (seed, num) float64 on the CPU.
    """
    keys = torch.tensor([_signed(seed % (1 << 64)) for seed in seeds], dtype=torch.int64)
    keys = _mix(_mix(keys + _GAMMA) + _signed(stream * _GAMMA % (1 << 64)))
    counters = torch.arange(1, num + 1, dtype=torch.int64)
    bits = _mix(keys[:, None] + counters * _GAMMA)
    # The half step keeps 0 out, so that a logarithm of it is finite.
    return (_shift_right(bits, 12).double() + 0.5) * 2.0**-52


def normal(seeds: Sequence[int], stream: int, num: int) -> Tensor:
    """Standard normal numbers by Box and Muller; arguments as `uniform`.

    Returns: (seed, num) float64 on the CPU.
    """
    radius, angle = uniform(seeds, stream, 2 * num).view(len(seeds), num, 2).unbind(-1)
    return torch.sqrt(-2.0 * torch.log(radius)) * torch.cos(2.0 * math.pi * angle)
