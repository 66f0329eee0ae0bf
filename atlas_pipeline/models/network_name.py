"""Names of a network and of its weights, for people. No torch at import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atlas_pipeline.models.sources import SOURCES


def network_name(source: str, name: str | None) -> str:
    """A short name from ``model.source`` and ``model.name``: ``networks/resnet.py:build`` is ``resnet``.

    A source that no longer exists, as named by an old run, raises no error.
    """
    display_name = SOURCES[source].display_name if source in SOURCES else None
    return display_name(name) if display_name else name or source


def model_title(model: Mapping[str, Any]) -> str:
    """The ``network_name`` as far as a model's identity gives it; for user code, the attribute.

    Artefacts use it: they may hold only data covered by their fingerprint, which excludes file names.
    """
    return network_name(model["source"], model.get("name") or model.get("variant") or model.get("attribute"))


def has_random_weights(model: Mapping[str, Any]) -> bool:
    """Whether a model's identity has random weights."""
    return bool(model["weights"].get("random"))


def weights_note(model: Mapping[str, Any]) -> str:
    """The origin of the weights in a model's identity, in words; random weights stand out in capitals."""
    weights = model["weights"]
    if has_random_weights(model):
        return f"RANDOM WEIGHTS (seed {weights['seed']})"
    if "sha256" in weights:
        taken = f", its '{weights['key']}'" if "key" in weights else ""
        return f"file with sha256 {weights['sha256'][:16]}{taken}"
    return str(weights.get("named", "as built by the model's own code"))
