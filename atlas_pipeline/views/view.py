"""Views: which of a layer's activations an atlas shows, and how they are laid out.

The same steps make the atlas of any view (`view_atlas.view_atlas`). The view is a value that names the atlas,
selects its activations and holds the settings of its layout and grids.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from atlas_pipeline.config.sections import Config
from atlas_pipeline.config.views import ClassConfig, ComparisonConfig, GridConfig, Sign
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.views.class_names import all_classes, resolved_class

Kind = Literal["all", "class", "comparison"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPopulation:
    """The activations that matter most to one class.

    Attributes:
        index, label: logit index and label of the class.
        filter, sign, top: see `config.sections.ClassConfig`.
    """

    index: int
    label: str
    filter: Literal["rank", "magnitude", "both"]
    sign: Sign
    top: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPopulation:
    """The activations with the highest attribution to either of two classes.

    Attributes:
        indices, labels: logit indices and labels of the left and the right class.
        top: number of activations selected for each class; see `config.sections.ComparisonConfig`.
    """

    indices: tuple[int, int]
    labels: tuple[str, str]
    top: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLayout:
    """How the activations of a view are laid out; see `config.sections.ProjectConfig`."""

    method: str
    perplexity: float
    num_neighbors: int
    min_dist: float
    fit_on: int | None = None
    compare_seeds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A population of activations, and the settings of its atlas.

    Attributes:
        name: name of its folder: ``all``, ``class-zebra``, ``compare-snorkel-scuba-diver``.
        title: displayed title.
        population: the activations it shows; None: all activations of a layer.
        layers: the layers that have this view.
        patch_test: whether the patch test checks the comparison.
    """

    name: str
    kind: Kind
    title: str
    population: ClassPopulation | ComparisonPopulation | None
    layers: tuple[str, ...]
    layout: ViewLayout
    grid: GridConfig
    patch_test: bool = False

    @property
    def axis(self) -> tuple[str, str] | None:
        """The classes at the left and right end of x; None if x has no meaning."""
        return self.population.labels if isinstance(self.population, ComparisonPopulation) else None

    @property
    def label(self) -> str | None:
        """The label of the class of a class atlas; None for other views."""
        return self.population.label if isinstance(self.population, ClassPopulation) else None


def views_of(config: Config) -> list[View]:
    """Every view that a config requests.

    Raises: ModelError, ConfigError: see `class_views` and `comparison_views`.
    """
    return [layer_view(config), *class_views(config), *comparison_views(config)]


def layer_view(config: Config) -> View:
    """The view of all activations of each layer."""
    project = config.project
    return View(
        name="all",
        kind="all",
        title="All activations",
        population=None,
        layers=config.layers,
        layout=ViewLayout(
            method=project.method,
            perplexity=project.perplexity,
            num_neighbors=project.num_neighbors,
            min_dist=project.min_dist,
            fit_on=project.fit_on,
            compare_seeds=project.compare_seeds,
        ),
        grid=config.grid,
    )


def class_views(config: Config) -> list[View]:
    """The class atlases that the config's ``classes`` requests; an entry ``all`` gives one per class.

    Raises: ModelError: no such class. ConfigError: a class without attributions, or a view requested twice.
    """
    views = list(_class_views(config))
    _refuse_twice("classes", views)
    return views


def _class_views(config: Config) -> Iterator[View]:
    for entry in config.classes:
        every = entry.class_.lower() == "all"
        for index, label in all_classes(config) if every else [resolved_class(config, entry.class_)]:
            yield View(
                name=class_view_name(label, entry.sign),
                kind="class",
                title=label if entry.sign == "positive" else f"against {label}",
                population=ClassPopulation(
                    index=index, label=label, filter=entry.filter, sign=entry.sign, top=entry.top
                ),
                layers=entry.layers or config.layers,
                layout=_layout(entry),
                grid=entry.grid,
            )


def comparison_views(config: Config) -> list[View]:
    """The comparisons that the config's ``comparisons`` requests.

    Raises: ModelError: no such class. ConfigError: left and right are the same class, a class without
            attributions, or a comparison requested twice.
    """
    views = [_comparison_view(config, entry) for entry in config.comparisons]
    _refuse_twice("comparisons", views)
    return views


def _comparison_view(config: Config, entry: ComparisonConfig) -> View:
    (left, left_label), (right, right_label) = (
        resolved_class(config, name) for name in (entry.left, entry.right)
    )
    if left == right:
        raise ConfigError(f"comparisons: left and right are both '{left_label}'; name two classes")
    return View(
        name=comparison_view_name(left_label, right_label),
        kind="comparison",
        title=f"{left_label} / {right_label}",
        population=ComparisonPopulation(
            indices=(left, right), labels=(left_label, right_label), top=entry.top
        ),
        layers=entry.layers or config.layers,
        layout=_layout(entry),
        grid=entry.grid,
        patch_test=entry.patch_test,
    )


def _layout(entry: ClassConfig | ComparisonConfig) -> ViewLayout:
    # A selection is small, so neither fit_on nor compare_seeds is needed.
    return ViewLayout(
        method=entry.method,
        perplexity=entry.perplexity,
        num_neighbors=entry.num_neighbors,
        min_dist=entry.min_dist,
    )


def class_view_name(label: str, sign: str) -> str:
    """Folder name of a class view: ``class-zebra``, ``class-zebra-negative``."""
    return f"class-{slug(label)}" + ("" if sign == "positive" else f"-{sign}")


def comparison_view_name(left: str, right: str) -> str:
    """Folder name of a comparison: ``compare-snorkel-scuba-diver``."""
    return f"compare-{slug(left)}-{slug(right)}"


def slug(label: str) -> str:
    """A class's label for use in file names: letters of any script, digits and single hyphens."""
    return re.sub(r"[\W_]+", "-", label.lower()).strip("-") or "class"


def _refuse_twice(section: str, views: Iterable[View]) -> None:
    times = Counter((view.name, layer) for view in views for layer in view.layers)
    for (name, layer), number in times.items():
        if number > 1:
            raise ConfigError(
                f"{section}: {name} is asked for {number} times at layer '{layer}'; "
                "leave one, or give the other a run with another name"
            )
