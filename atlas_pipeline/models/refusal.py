"""Why a network does not run on its images: its own error, the likely cause, the remedy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import counted
from atlas_pipeline.models.eager import eager
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.plain_module import first_line
from atlas_pipeline.user_code import location_of

# Common image sizes of networks, in pixels.
SIZES_PX = (8, 16, 28, 32, 48, 64, 84, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 384, 448, 512)
PRECISIONS = ("dtype", "Half", "half", "BFloat16", "Double", "double", "same type")
DEVICES = ("same device", "expected device", "cuda", "CUDA")


def failure_message(module: nn.Module, images: Tensor, name: str, failure: Exception) -> str:
    """One line about a forward pass of ``images`` that raised ``failure``.

    Args: images: (B, 3, S, S), normalised. name: the network's name.
    """
    size_px = images.shape[2]
    reason = first_line(failure)
    if not isinstance(failure, RuntimeError | AssertionError):
        reason = f"{type(failure).__name__}: {reason}"
    if place := location_of(failure):
        reason += f" ({place})"
    cannot = f"{name} cannot run on a {size_px} px image: {reason}"
    if isinstance(failure, TypeError) and "argument" in str(failure) and "forward()" in str(failure):
        return (
            f"{name} does not take images alone: {reason}; wrap it in a module whose forward(images) returns "
            "the logits"
        )
    if is_out_of_memory(failure):
        return f"{cannot}; free memory, or take a smaller model.preprocess.crop"
    if (num_channels := _num_channels(module, images)) is not None:
        return (
            f"{name} takes images of {counted(num_channels, 'channel')}, and gets RGB "
            f"here: {reason}; wrap it in a module that converts RGB to what it takes"
        )
    if (other_px := _size_that_runs(module, images)) is not None:
        return f"{cannot}; it runs on images of {other_px} px: set model.preprocess.crop: {other_px}"
    if any(word in str(failure) for word in PRECISIONS):
        return (
            f"{cannot}; networks are run in float32 here: remove conversions to another precision from its "
            "forward and hooks"
        )
    if any(word in str(failure) for word in DEVICES):
        return f"{cannot}; networks are opened on the CPU: create tensors on the input's device in forward"
    return cannot


def _num_channels(module: nn.Module, images: Tensor) -> int | None:
    """Number of image channels with which the network runs, if it is not three."""
    wanted = [part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)]
    for num_channels in dict.fromkeys((*wanted[:1], 1, 4)):
        if num_channels != 3 and _runs(module, images.new_zeros(2, num_channels, *images.shape[2:])):
            return num_channels
    return None


def _size_that_runs(module: nn.Module, images: Tensor) -> int | None:
    """The nearest image size, in pixels, with which the network runs; None if no common size does."""
    own_px = images.shape[2]
    for size_px in sorted(SIZES_PX, key=lambda other: abs(math.log(other / own_px))):
        if size_px != own_px and _runs(module, images.new_zeros(2, 3, size_px, size_px)):
            return size_px
    return None


def _runs(module: nn.Module, images: Tensor) -> bool:
    try:
        with torch.no_grad(), eager():
            module(images)
    except Exception:
        # User code may raise anything.
        return False
    return True
