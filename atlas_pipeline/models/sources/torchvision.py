"""torchvision's classifiers, with named weights, weights from a file, or random weights."""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atlas_pipeline.errors import ModelError, WeightsError, unknown_name
from atlas_pipeline.models.model_source import ModelSource, Opened
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum

# Auxiliary heads that are trained with the network and do not affect its logits.
AUXILIARY = ("aux1", "aux2", "AuxLogits")
# torchvision trained its own weights for these on images in [-1, 1] and converts inside the network
# (transform_input); here the preprocessing does that conversion.
TRAINED_ON_MINUS_1_TO_1 = ("googlenet", "inception_v3")
# Old DenseNet files have names that torchvision renames on loading.
OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def load_models() -> Any:
    """The module ``torchvision.models``.

    Raises: ModelError: torchvision was built for another torch, or is not installed.
    """
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise ModelError(misfit("torchvision", error)) from error
    return models


def misfit(package: str, error: Exception) -> str:
    """An error line for a package that fails at import: torch and torchvision of two indexes do not fit."""
    return (
        f"{package} cannot be imported ({error}); install torch and torchvision from one index, so that they "
        "are built for each other"
    )


def check_name(name: str | None) -> str:
    """Return ``name`` if torchvision has such a classifier.

    Raises: ModelError: it has none; the message gives the nearest name.
    """
    models = load_models()
    known = models.list_models(module=models)
    if name not in known:
        raise ModelError(unknown_name("model", str(name), known, "torchvision's classifiers"))
    return str(name)


def find_weights(name: str | None, weights: str | None) -> WeightsEnum:
    """The named weights of a classifier; None is DEFAULT.

    ``X_Weights.IMAGENET1K_V1`` and ``IMAGENET1K_V1`` name the same weights.

    Raises: ModelError: no such model or weights; the message gives the nearest name.
    """
    entries = load_models().get_model_weights(check_name(name))
    wanted = (weights or "DEFAULT").rpartition(".")[2]
    if wanted not in entries.__members__:
        remedy = "Or give a file (.pt, .pth, .safetensors), or 'random'"
        raise ModelError(
            unknown_name("weights", wanted, entries.__members__, f"torchvision's {name}", remedy)
        )
    return entries[wanted]


def torchvision_labels(spec: ModelSpec) -> tuple[str, ...]:
    """torchvision's classes for the named weights, or else for the network's default weights."""
    named = spec.weights if spec.weights_kind == "named" else None
    return tuple(find_weights(spec.name, named).meta["categories"])


def _own_weights(spec: ModelSpec) -> dict[str, Any]:
    return {"named": str(find_weights(spec.name, spec.weights))}


def _open(spec: ModelSpec) -> Opened:
    """Open a torchvision classifier.

    Raises: ModelError: no such network or weights, a failed download, or weights that do not fit.
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
    if name in TRAINED_ON_MINUS_1_TO_1:
        module.aux_logits = module.transform_input = False  # type: ignore[assignment]
    return Opened(module, _preprocess(name, weights), torchvision_labels(spec))


def _build(name: str, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    if name in TRAINED_ON_MINUS_1_TO_1:
        # Their own initialisation takes minutes and is meant for training.
        options |= {"init_weights": False, "aux_logits": False}
    return get_model(name, weights=None, **options)


def _filled(name: str, spec: ModelSpec) -> nn.Module:
    from atlas_pipeline.models.weights import load_weights, other_head, read_state_dict

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
        # torch writes to stdout that it downloads; there, only a command's results are written.
        with redirect_stdout(sys.stderr):
            return get_model(name, weights=weights, progress=sys.stderr.isatty())
    except (OSError, RuntimeError) as error:
        # An error of urllib wraps the one that says why.
        cause = getattr(error, "reason", None) or error
        reason = str(cause).splitlines()[0] if str(cause) else type(error).__name__
        raise WeightsError(f"weights {weights} cannot be downloaded from {weights.url}: {reason}") from error


def _preprocess(name: str, weights: WeightsEnum) -> Preprocess:
    """torchvision's preprocessing for these weights (its ``transforms()``)."""
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
    if name in TRAINED_ON_MINUS_1_TO_1:
        preprocess = replace(preprocess, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return preprocess


TORCHVISION = ModelSource(
    name="torchvision",
    open=_open,
    own_weights=_own_weights,
    identity=lambda spec: {"name": spec.name},
    labels=torchvision_labels,
    example="googlenet",
    has_named_weights=True,
    packages=("torchvision",),
    citation="""@misc{model,
  title = {{TorchVision}: {PyTorch}'s Computer Vision library},
  author = {{TorchVision maintainers and contributors}},
  year = {2016},
  howpublished = {\\url{https://github.com/pytorch/vision}},
  note = {%s},
}
""",
)
