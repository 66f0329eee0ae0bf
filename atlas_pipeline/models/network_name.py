"""What people call a network, and what they are told of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the function that makes a network is called, whichever it makes.
_NAMELESS = ("build", "build_model", "create", "create_model", "get_model", "make", "model", "net", "network")


def network_name(source: str, name: str | None) -> str:
    """``model.source`` and ``model.name`` in a word: ``networks/resnet.py:build`` is ``resnet``."""
    if source != "python" or name is None:
        return name or source
    place, _, attribute = name.rpartition(":")
    if attribute not in _NAMELESS:
        return attribute
    return place.replace("\\", "/").split("/")[-1].removesuffix(".py").split(".")[-1]


def has_random_weights(model: Mapping[str, Any]) -> bool:
    """Whether a model's identity says that nobody trained it."""
    return bool(model["weights"].get("random"))


def weights_note(model: Mapping[str, Any]) -> str:
    """Where the weights come from, in words."""
    weights = model["weights"]
    if has_random_weights(model):
        return f"RANDOM WEIGHTS (seed {weights['seed']})"
    if "sha256" in weights:
        taken = f", its '{weights['key']}'" if "key" in weights else ""
        return f"file with sha256 {weights['sha256'][:16]}{taken}"
    return str(weights.get("named", "as built by the model's own code"))


def model_title(model: Mapping[str, Any]) -> str:
    """The model's name as people call it."""
    return str(model.get("name") or model.get("attribute") or model["source"])
