"""The patch test of a comparison, stage by stage.

A comparison finds icons that pull from one class to another. We paste them onto images of the one class, and
count how often the network answers with the other. This tests a claim of the paper (Carter et al., 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.config.views import ComparisonConfig
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.patch_test import patch_answers, patch_images, patch_report, patches
from atlas_pipeline.view_atlas import ViewAtlas
from atlas_pipeline.views.class_names import resolved_class
from atlas_pipeline.views.view import ComparisonPopulation, View


def steps(config: Config, view: View, index: Step, atlas: ViewAtlas, whole: ViewAtlas) -> Iterator[Step]:
    """The steps of a patch test: images, patches, answers, report.

    Args: atlas: the comparison's atlas; its finest grid gives the patches, because fine cells are purest.
          whole: the layer's whole atlas; random icons of its coarsest grid are the control.
    """
    assert isinstance(view.population, ComparisonPopulation)
    left, right = zip(view.population.indices, view.population.labels, strict=True)
    cells, icons = atlas.cells[max(atlas.cells)], atlas.icons[max(atlas.icons)]
    # Images come first: a class that the network never gets right is refused before any icon is made.
    images = patch_images.step(config, view.name, left, index)
    pasted = patches.step(config, left[0], right[0], index, cells, icons, whole.icons[min(whole.icons)])
    answers = patch_answers.step(config, index, pasted, images)
    yield from (images, pasted, answers)
    yield patch_report.step(config, left, right, index, pasted, images, answers)


def with_patch_test(
    config: Config, compare: str | None, layers: Sequence[str] = (), num_images: int | None = None
) -> Config:
    """The config with a patch test of one comparison; an entry of the config for these classes is used.

    Args:   compare: left and right class, e.g. ``cat,dog``; None: keep the config's comparisons. layers: the
            layers to test; empty: the comparison's own. num_images: None: the config's own.
    Raises: ConfigError: not two classes, or a layer that the config does not have. ModelError: no such class.
    """
    values: dict[str, Any] = dict(config)
    if num_images is not None:
        values["patch_test"] = config.patch_test.model_copy(update={"num_images": num_images})
    if compare is not None:
        more: dict[str, Any] = {"layers": tuple(layers)} if layers else {}
        entry = _comparison(config, compare)
        values["comparisons"] = [entry.model_copy(update={**more, "patch_test": True})]
    return parse_config(values, where="patch test")


def _comparison(config: Config, compare: str) -> ComparisonConfig:
    names = [name.strip() for name in compare.split(",")]
    if len(names) != 2 or not all(names):
        raise ConfigError(
            f"'{compare}' is not two classes: write LEFT,RIGHT, e.g. cat,dog; "
            "give a class with a comma in its name by its index"
        )
    wanted = [resolved_class(config, name)[0] for name in names]
    if wanted[0] == wanted[1]:
        raise ConfigError(f"'{compare}' names the same class twice; a comparison needs two")
    for entry in config.comparisons:
        if [resolved_class(config, name)[0] for name in (entry.left, entry.right)] == wanted:
            return entry
    return ComparisonConfig(left=names[0], right=names[1])
