"""What ``highlights`` and ``vocabularies`` ask for, and what their stages read alike. Not a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas_pipeline.config import Config, HighlightConfig, Sign, VocabularyConfig
from atlas_pipeline.engine.stage import Artefact, Job
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.classes import resolved_class
from atlas_pipeline.stages.provenance import has_random_weights, provenance, weights_note
from atlas_pipeline.stages.views import slug


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlight:
    """A class lit up: ``index`` of the logit, the class's ``label``, where, and which sign lights."""

    index: int
    label: str
    layers: tuple[str, ...]
    sign: Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A class's vocabulary: ``index`` of the logit, the class's ``label``, the layers in order of depth."""

    index: int
    label: str
    layers: tuple[str, ...]
    num_cells: int


def highlights(config: Config) -> list[Highlight]:
    """What ``highlights`` asks for.

    Raises: ModelError: no such class. ConfigError: one without attributions, or asked for twice.
    """
    asked = []
    for entry in config.highlights:
        index, label = resolved_class(config, entry.class_)
        asked.append(Highlight(index=index, label=label, layers=_layers(config, entry), sign=entry.sign))
    _refuse_twice("highlights", [f"{h.sign} {slug(h.label)} of {layer}" for h in asked for layer in h.layers])
    return asked


def vocabularies(config: Config) -> list[Vocabulary]:
    """What ``vocabularies`` asks for.

    Raises: as ``highlights``.
    """
    asked = []
    for entry in config.vocabularies:
        index, label = resolved_class(config, entry.class_)
        asked.append(
            Vocabulary(index=index, label=label, layers=_layers(config, entry), num_cells=entry.num_cells)
        )
    _refuse_twice("vocabularies", [slug(v.label) for v in asked])
    return asked


def attribution_to(cells: Artefact, index: int) -> np.ndarray:
    """(cell,) float32: the cells' mean attribution to a class, logits.

    Args: cells: a bin artefact, whose notes say which class each column is.
    """
    column = list(cells.notes["classes"]).index(index)
    return column_matrix(cells.read(["attribution"]), "attribution")[:, column].astype(np.float32)


def written(values: np.ndarray) -> list[float]:
    """Numbers for JSON: the shortest that are the same float32."""
    return [float(str(value)) for value in np.asarray(values, dtype=np.float32)]


def document(job: Job, **body: Any) -> dict[str, Any]:
    """The JSON of a figure: the class, the body, how it was made; cells last, they are many."""
    model, cells = job.config["model"], body.pop("cells")
    weights = {"weights": weights_note(model), "random_weights": has_random_weights(model)}
    return {
        "class": job.config["label"],
        "class_index": job.config["class"],
        **body,
        "provenance": {**provenance(job), **weights},
        "cells": cells,
    }


def _layers(config: Config, entry: HighlightConfig | VocabularyConfig) -> tuple[str, ...]:
    """In the config's order, which is that of depth, however the entry has them."""
    return tuple(layer for layer in config.layers if entry.layers is None or layer in entry.layers)


def _refuse_twice(section: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ConfigError(f"{section}: {name} is asked for {times} times; leave one")
