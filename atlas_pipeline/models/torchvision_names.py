"""torchvision's classifiers and their weights, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_pipeline.errors import ModelError, unknown_name

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


def check_name(name: str | None) -> str:
    """``name`` if torchvision has a classifier of that name.

    Raises: ModelError: it has not; the nearest is named.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ModelError(unknown_name("model", str(name), known, "torchvision's classifiers"))
    return str(name)


def find_weights(name: str | None, weights: str | None) -> WeightsEnum:
    """The weights of a classifier by name: None is DEFAULT; ``IMAGENET1K_V1`` or ``X_Weights.IMAGENET1K_V1``.

    Raises: ModelError: no such model or weights; the nearest is named.
    """
    from torchvision import models

    entries = models.get_model_weights(check_name(name))
    wanted = (weights or "DEFAULT").rpartition(".")[2]
    if wanted not in entries.__members__:
        remedy = "Or give a file (.pt, .pth, .safetensors), or 'random'"
        raise ModelError(
            unknown_name("weights", wanted, entries.__members__, f"torchvision's {name}", remedy)
        )
    return entries[wanted]
