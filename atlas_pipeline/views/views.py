"""The selections a config asks for: which class or classes, in which layers, and what the view is called.

Not a stage.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from atlas_pipeline.config.sections import ClassConfig, ComparisonConfig, Config
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.views.classes import all_classes, resolved_class


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassView:
    """A class atlas: ``index`` of the logit, the class's ``label``, the name of the ``view``."""

    entry: ClassConfig
    index: int
    label: str
    view: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """A class comparison: logits and labels of the left and the right class, the name of the ``view``."""

    entry: ComparisonConfig
    indices: tuple[int, int]
    labels: tuple[str, str]
    view: str
    layers: tuple[str, ...]


def class_views(config: Config) -> list[ClassView]:
    """What ``classes`` asks for, ``all`` spelled out.

    Raises: ModelError: no such class. ConfigError: one without attributions, or asked for twice.
    """
    views = list(_class_views(config))
    _refuse_twice("classes", ((v.view, v.layers) for v in views))
    return views


def _class_views(config: Config) -> Iterator[ClassView]:
    for entry in config.classes:
        every = entry.class_.lower() == "all"
        for index, label in all_classes(config) if every else [resolved_class(config, entry.class_)]:
            yield ClassView(
                entry=entry,
                index=index,
                label=label,
                view=class_view_name(label, entry.sign),
                layers=entry.layers or config.layers,
            )


def comparison_views(config: Config) -> list[ComparisonView]:
    """What ``comparisons`` asks for.

    Raises: ModelError: no such class. ConfigError: both the same, one without attributions, or twice.
    """
    views = []
    for entry in config.comparisons:
        (left, left_label), (right, right_label) = (
            resolved_class(config, name) for name in (entry.left, entry.right)
        )
        if left == right:
            raise ConfigError(f"comparisons: left and right are both '{left_label}'; name two classes")
        views.append(
            ComparisonView(
                entry=entry,
                indices=(left, right),
                labels=(left_label, right_label),
                view=comparison_view_name(left_label, right_label),
                layers=entry.layers or config.layers,
            )
        )
    _refuse_twice("comparisons", ((v.view, v.layers) for v in views))
    return views


def class_view_name(label: str, sign: str) -> str:
    """``class-zebra``, ``class-zebra-negative``: fit for a folder."""
    return f"class-{slug(label)}" + ("" if sign == "positive" else f"-{sign}")


def comparison_view_name(left: str, right: str) -> str:
    """``compare-snorkel-scuba-diver``: fit for a folder."""
    return f"compare-{slug(left)}-{slug(right)}"


def slug(label: str) -> str:
    """A class's label as a part of a file's name: letters of any script, digits and single hyphens."""
    return re.sub(r"[\W_]+", "-", label.lower()).strip("-") or "class"


def _refuse_twice(section: str, views: Iterable[tuple[str, Sequence[str]]]) -> None:
    times = Counter((view, layer) for view, layers in views for layer in layers)
    for (view, layer), number in times.items():
        if number > 1:
            raise ConfigError(
                f"{section}: {view} is asked for {number} times at layer '{layer}'; "
                "leave one, or give the other a run with another name"
            )
