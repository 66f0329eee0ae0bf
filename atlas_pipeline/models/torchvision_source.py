"""torchvision's classifiers, with weights by name, from a file, or random."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.models.torchvision_names import check_name, find_weights
from atlas_pipeline.models.weights import load_weights, other_head, read_state_dict

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# Heads that are trained with the network and take no part in its answer.
AUXILIARY = ("aux1", "aux2", "AuxLogits")
# Of these, torchvision's own weights were trained on images in [-1, 1]. torchvision converts within the
# network (transform_input); here preprocess says what the network really sees.
TRAINED_ON_SYMMETRIC = ("googlenet", "inception_v3")
# DenseNet files of old have names that torchvision renames as it loads them.
OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def open_torchvision(spec: ModelSpec) -> tuple[nn.Module, Preprocess]:
    """The network with its weights (random ones: as torch's generator draws them) and its preprocessing.

    Raises: ModelError: no such network or weights, a download that fails, or weights that do not fit.
    """
    name = check_name(spec.name)
    weights = find_weights(name, spec.weights if spec.weights_kind == "named" else None)
    if spec.weights_kind == "file":
        module = _filled(name, spec)
    elif spec.weights_kind == "random":
        module = _build(name)
    else:
        module = _downloaded(name, weights)
    for head in AUXILIARY:
        if hasattr(module, head):
            setattr(module, head, None)
    if name in TRAINED_ON_SYMMETRIC:
        module.aux_logits = module.transform_input = False  # type: ignore[assignment]
    return module, _preprocess(name, weights)


def _build(name: str, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    if name in TRAINED_ON_SYMMETRIC:
        # Their own initialisation takes minutes and is meant for training.
        options |= {"init_weights": False, "aux_logits": False}
    return get_model(name, weights=None, **options)


def _filled(name: str, spec: ModelSpec) -> nn.Module:
    module = _build(name)
    state = read_state_dict(spec, module.state_dict())
    state = {key: tensor for key, tensor in state.items() if key.split(".")[0] not in AUXILIARY}
    if name.startswith("densenet"):
        state = {OLD_DENSENET_KEY.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    num_classes = other_head(module.state_dict(), state)
    if num_classes is not None:
        module = _build(name, num_classes=num_classes)
    load_weights(module, state, f"weights '{spec.weights}' for torchvision's {name}")
    return module


def _downloaded(name: str, weights: WeightsEnum) -> nn.Module:
    from torchvision.models import get_model

    try:
        return get_model(name, weights=weights, progress=False)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"weights {weights} cannot be had from {weights.url}: {reason}; "
            "set model.weights to a file (.pt, .pth, .safetensors), or to 'random'"
        ) from error


def _preprocess(name: str, weights: WeightsEnum) -> Preprocess:
    """What torchvision does to images for these weights (its ``transforms()``)."""
    transforms = weights.transforms()
    preprocess = Preprocess().override(
        {
            "resize": transforms.resize_size[0],
            "crop": transforms.crop_size[0],
            "mean": transforms.mean,
            "std": transforms.std,
            "interpolation": transforms.interpolation.value,
        }
    )
    if name in TRAINED_ON_SYMMETRIC:
        preprocess = replace(preprocess, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return preprocess
