"""What ``highlights`` and ``vocabularies`` ask for, and what their stages read alike. Not a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atlas_pipeline.config.sections import Config, HighlightConfig, Sign, VocabularyConfig
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.views.classes import resolved_class
from atlas_pipeline.views.view import slug


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


def _layers(config: Config, entry: HighlightConfig | VocabularyConfig) -> tuple[str, ...]:
    """In the config's order, which is that of depth, however the entry has them."""
    return tuple(layer for layer in config.layers if entry.layers is None or layer in entry.layers)


def _refuse_twice(section: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ConfigError(f"{section}: {name} is asked for {times} times; leave one")
