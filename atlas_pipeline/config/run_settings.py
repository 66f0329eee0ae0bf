"""The network that a config names: how to open it, and how it is identified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_pipeline.config.sections import Config, ModelConfig
from atlas_pipeline.engine.location import Location
from atlas_pipeline.errors import ConfigError, ModelError
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.named_file import named_file
from atlas_pipeline.models.spec import ModelSpec, file_digest


def model_spec(config: Config) -> ModelSpec:
    """How to open the network of a run; picklable, never part of a fingerprint."""
    return network_spec(config.model, config.seed)


def judge_spec(config: Config) -> ModelSpec | None:
    """How to open the judge of the icons, a second network; None if the config names none.

    Raises: ModelError: its weights key fits no weights.
    """
    if config.invert.judge is None:
        return None
    with about_judge():
        return network_spec(config.invert.judge, config.seed)


def network_spec(model: ModelConfig, seed: int) -> ModelSpec:
    """How to open a network. seed: of random parameters."""
    overrides = model.preprocess.model_dump(exclude_none=True) if model.preprocess else None
    return ModelSpec(
        source=model.source,
        name=model.name,
        weights=model.weights,
        weights_key=model.weights_key,
        labels=model.labels,
        preprocess=overrides,
        seed=seed,
    )


def model_config(config: Config) -> Mapping[str, Any]:
    """The network's identity: everything about it that affects results; part of fingerprints."""
    return model_identity(model_spec(config))


def judge_config(config: Config) -> Mapping[str, Any]:
    """The judge's identity, for fingerprints.

    Raises: ConfigError: the judge is the network that made the icons. ModelError: a file is missing.
    """
    with about_judge():
        judge = model_identity(judge_spec(config) or model_spec(config))
    own = model_config(config)
    # One weights file is one network, whichever code builds it and however images are preprocessed.
    same_file = "sha256" in judge["weights"] and judge["weights"] == own["weights"]
    if same_file or {**judge, "preprocess": None} == {**own, "preprocess": None}:
        raise ConfigError(
            "invert.judge is the network that makes the icons, so its verdict would prove nothing; name "
            "another network, or leave judge out"
        )
    return judge


@contextmanager
def about_judge() -> Iterator[None]:
    """Say in errors that they are about the judge."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"invert.judge: {error}") from error


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
        model: how to open the network. judge: how to open the judge of its icons; None: there is none.
        source, path, root, label_column: see `config.sections.ImagesConfig`.
        seed: seed of generated images.
        max_bad: share of unreadable images above which a run stops.
        metadata: path of the table of image metadata.
        bank: folder of the bank that icons start from; None: there is none.
    """

    model: ModelSpec
    source: str
    path: str | None
    root: str | None
    label_column: str | None
    seed: int
    max_bad: float
    metadata: str | None
    judge: ModelSpec | None = None
    bank: Location | None = None


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
        judge=judge_spec(config),
    )
