"""The figures that a config requests under ``highlights`` and ``vocabularies``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atlas_pipeline.config.sections import Config
from atlas_pipeline.config.views import HighlightConfig, Sign, VocabularyConfig
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.views.class_names import resolved_class
from atlas_pipeline.views.view import slug


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlight:
    """A request for one class highlighted in layer atlases.

    Attributes:
        index: of the class's logit.
        label: the class's label.
        layers: the layers that get the figure, in order of depth.
        sign: the sign of the attributions that are highlighted.
    """

    index: int
    label: str
    layers: tuple[str, ...]
    sign: Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A request for the vocabulary of one class.

    Attributes:
        index: of the class's logit.
        label: the class's label.
        layers: the layers shown, in order of depth.
        num_cells: icons per layer.
    """

    index: int
    label: str
    layers: tuple[str, ...]
    num_cells: int


def highlights(config: Config) -> list[Highlight]:
    """The figures that the config's ``highlights`` requests.

    Raises: ModelError: no such class. ConfigError: a class without attributions, or a figure requested twice.
    """
    asked = []
    for entry in config.highlights:
        index, label = resolved_class(config, entry.class_)
        asked.append(Highlight(index=index, label=label, layers=_layers(config, entry), sign=entry.sign))
    _refuse_twice("highlights", [f"{h.sign} {slug(h.label)} of {layer}" for h in asked for layer in h.layers])
    return asked


def vocabularies(config: Config) -> list[Vocabulary]:
    """The figures that the config's ``vocabularies`` requests.

    Raises: ModelError: no such class. ConfigError: a class without attributions, or a figure requested twice.
    """
    asked = []
    for entry in config.vocabularies:
        index, label = resolved_class(config, entry.class_)
        asked.append(
            Vocabulary(index=index, label=label, layers=_layers(config, entry), num_cells=entry.num_cells)
        )
    _refuse_twice("vocabularies", [slug(v.label) for v in asked])
    return asked


def _layers(config: Config, entry: HighlightConfig | VocabularyConfig) -> tuple[str, ...]:
    """The entry's layers in the config's order, which is the order of depth."""
    return tuple(layer for layer in config.layers if entry.layers is None or layer in entry.layers)


def _refuse_twice(section: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ConfigError(f"{section}: {name} is asked for {times} times; leave one")
