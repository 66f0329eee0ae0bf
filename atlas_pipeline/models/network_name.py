"""How people see a network: its name, and where its weights come from. No torch at import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atlas_pipeline.models.sources import SOURCES


def network_name(source: str, name: str | None) -> str:
    """``model.source`` and ``model.name`` in a word: ``networks/resnet.py:build`` is ``resnet``.

    A source that is gone, as an old run may name, is no mistake here.
    """
    called = SOURCES[source].called if source in SOURCES else None
    return called(name) if called else name or source


def model_title(model: Mapping[str, Any]) -> str:
    """The ``network_name`` as far as a model's identity tells it; for a user's own code, the attribute.

    For artefacts: they may hold only what their fingerprint covers, and the name of a file is not in it.
    """
    return network_name(model["source"], model.get("name") or model.get("variant") or model.get("attribute"))


def has_random_weights(model: Mapping[str, Any]) -> bool:
    """Whether a model's identity says that nobody trained it."""
    return bool(model["weights"].get("random"))


def weights_note(model: Mapping[str, Any]) -> str:
    """Where the weights of a model's identity come from, in words that say loudly where they mean nothing."""
    weights = model["weights"]
    if has_random_weights(model):
        return f"RANDOM WEIGHTS (seed {weights['seed']})"
    if "sha256" in weights:
        taken = f", its '{weights['key']}'" if "key" in weights else ""
        return f"file with sha256 {weights['sha256'][:16]}{taken}"
    return str(weights.get("named", "as built by the model's own code"))
