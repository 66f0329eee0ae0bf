"""timm's networks, with timm's own weights, from a file, or random."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.preprocess import INTERPOLATIONS, Preprocess
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.models.timm_names import check_name, full_name, load_timm
from atlas_pipeline.models.weights import load_weights, other_head, read_state_dict


def open_timm(spec: ModelSpec) -> tuple[nn.Module, Preprocess]:
    """The network with its weights (random ones: as torch's generator draws them) and its preprocessing.

    Raises: ModelError: timm is not installed, no such network or weights, a download that fails, or weights
            that do not fit.
    """
    timm, name = load_timm(), check_name(spec.name)
    if spec.weights_kind == "file":
        module = _filled(timm, name, spec)
    elif spec.weights_kind == "random":
        module = timm.create_model(name)
    else:
        module = _downloaded(timm, name)
    return module, _preprocess(timm, module, name)


def _filled(timm: Any, name: str, spec: ModelSpec) -> nn.Module:
    module = timm.create_model(name)
    state = read_state_dict(spec, module.state_dict())
    num_classes = other_head(module.state_dict(), state, num_own=module.num_classes)
    if num_classes is not None:
        module = timm.create_model(name, num_classes=num_classes)
    load_weights(module, state, f"weights '{spec.weights}' for timm's {name}")
    return module


def _downloaded(timm: Any, name: str) -> nn.Module:
    wanted = full_name(name)
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:
        # Whatever the hub's client raises: it has its own tree of errors, and more beneath it.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(
            f"weights {wanted} cannot be had from timm: {reason}; "
            "set model.weights to a file (.pt, .pth, .safetensors), or to 'random'"
        ) from error


def _preprocess(timm: Any, module: nn.Module, name: str) -> Preprocess:
    """What timm does to images for these weights when it evaluates them at the size they were trained at."""
    config = timm.data.resolve_model_data_config(module)
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ModelError(
            f"timm's {name} takes images of {channels} x {height} x {width}; only square RGB images will do"
        )
    return Preprocess().override(
        {
            "resize": math.floor(height / config["crop_pct"]),
            "crop": height,
            "mean": config["mean"],
            "std": config["std"],
            "interpolation": _interpolation(config["interpolation"]),
        }
    )


def _interpolation(theirs: str) -> str:
    """Lanczos and others that are not ours become the sharper of ours."""
    return theirs if theirs in INTERPOLATIONS else "bicubic"
