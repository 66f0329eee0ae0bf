"""The parts of a network that affect values. No torch at import: ``atlas status`` reads this."""

from __future__ import annotations

from typing import Any

from atlas_pipeline.models.model_source import ModelSource
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.sources import source_of
from atlas_pipeline.models.spec import ModelSpec, weights_digest, weights_set


def model_identity(spec: ModelSpec) -> dict[str, Any]:
    """Everything about a network that affects values, for fingerprints: contents, never paths; JSON-able.

    Labels are left out: they name classes and change no number. A python source is identified by its own
    file, not by the files that it imports or opens. Weights should therefore be given as ``weights``.

    Raises: ModelError: an unknown source or name, a missing file, or mean and std in the wrong units.
    """
    source = source_of(spec.source)
    # Refuse bad colours before anything runs. Keys that depend on the network's own values are checked when
    # it is opened.
    colours = {k: v for k, v in (spec.preprocess or {}).items() if k in ("mean", "std")}
    Preprocess().override(colours, "model.preprocess")
    return {
        "source": spec.source,
        "weights": _weights(spec, source),
        **source.identity(spec),
        "preprocess": dict(spec.preprocess) if spec.preprocess else None,
    }


def _weights(spec: ModelSpec, source: ModelSource) -> dict[str, Any]:
    if spec.weights_kind == "random":
        return {"random": True, "seed": spec.seed}
    if spec.weights_kind != "file":
        return source.own_weights(spec)
    key = weights_set(spec)
    # Only where there is a choice: the identity of a file with one set of weights must not change.
    return {"sha256": weights_digest(spec)} | ({"key": key} if key is not None else {})
