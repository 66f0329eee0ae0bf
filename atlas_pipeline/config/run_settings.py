"""The network that a config names: how to open it, and how it is identified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_pipeline.config.sections import Config
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.named_file import named_file
from atlas_pipeline.models.spec import ModelSpec, file_digest


def model_spec(config: Config) -> ModelSpec:
    """How to open the network of a run; picklable, never part of a fingerprint."""
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
    """The network's identity: everything about it that affects results; part of fingerprints."""
    return model_identity(model_spec(config))


def weights_set_note(config: Config) -> str | None:
    """A line on the set of weights in use, if the file holds several and the config names none; else None."""
    key = model_config(config)["weights"].get("key")
    if key is None or config.model.weights_key is not None:
        return None
    return (
        f"{Path(str(config.model.weights)).name} holds raw weights and averaged ones (EMA): those of "
        f"'{key}' are taken, as for evaluation; model.weights_key names others"
    )


def labels_digest(config: Config) -> str | None:
    """A digest of the file of class labels; None if the labels are the model's own."""
    return file_digest(named_file(config.model.labels, "model.labels")) if config.model.labels else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a step opens the network and reads the images; picklable, never part of a fingerprint.

    Attributes:
        model: how to open the network.
        source, path, root, label_column: see `config.sections.ImagesConfig`.
        seed: seed of generated images.
        max_bad: share of unreadable images above which a run stops.
        metadata: path of the table of image metadata.
    """

    model: ModelSpec
    source: str
    path: str | None
    root: str | None
    label_column: str | None
    seed: int
    max_bad: float
    metadata: str | None


def run_settings(config: Config) -> RunSettings:
    """The settings that all steps of a run share."""
    images = config.images
    return RunSettings(
        model=model_spec(config),
        source=images.source,
        path=images.path,
        root=images.root,
        label_column=images.label_column,
        seed=config.seed,
        max_bad=images.max_bad,
        metadata=images.metadata,
    )
