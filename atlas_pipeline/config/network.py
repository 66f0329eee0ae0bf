"""The network that a config names: how to open it, and what identifies it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_pipeline.config.sections import Config
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.spec import ModelSpec, file_digest


def model_spec(config: Config) -> ModelSpec:
    """How to open the network of a run: picklable, and never fingerprinted."""
    model = config.model
    overrides = model.preprocess.model_dump(exclude_none=True) if model.preprocess else None
    return ModelSpec(
        source=model.source,
        name=model.name,
        weights=model.weights,
        weights_key=model.weights_key,
        labels=model.labels,
        preprocess=overrides,
        seed=config.seed,
    )


def model_config(config: Config) -> Mapping[str, Any]:
    """What of the network affects results: fingerprinted."""
    return model_identity(model_spec(config))


def taken_weights(config: Config) -> str | None:
    """A line where a weights file holds several sets and the config does not choose; None elsewhere."""
    key = model_config(config)["weights"].get("key")
    if key is None or config.model.weights_key is not None:
        return None
    return (
        f"{Path(str(config.model.weights)).name} holds raw weights and averaged ones (EMA): those of "
        f"'{key}' are taken, as for evaluation; model.weights_key names others"
    )


def labels_digest(config: Config) -> str | None:
    """What identifies the file of class labels; None where the labels are the model's own."""
    return file_digest(Path(config.model.labels).expanduser()) if config.model.labels else None


def image_settings(config: Config) -> dict[str, Any]:
    """What of a step's settings it takes to read images."""
    return {
        "model": model_spec(config),
        **config.images.place,
        "seed": config.seed,
    }
