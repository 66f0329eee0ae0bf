"""The pages of units in a run folder: ``units/index.html``, its script and style, and the layers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Artefact
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.stages.tuning.tuning_figures import TUNING_FIGURES
from atlas_pipeline.stages.units.unit_cells import UNIT_CELLS
from atlas_pipeline.stages.units.unit_pages import UNIT_PAGES
from atlas_pipeline.viewer.unit_files import unit_page_files

PAGE = "units/index.html"


def units_with_pages(config: Config, made: Mapping[Step, Artefact]) -> dict[str, int]:
    """By layer, how many units have pages, in the order of the config; without layers that have none."""
    found = {
        str(step.layer): int(artefact.notes["num_units"])
        for step, artefact in made.items()
        if step.stage.name == UNIT_PAGES.name
    }
    return {layer: found[layer] for layer in config.unit_layers if layer in found}


def unit_pages(config: Config, made: Mapping[Step, Artefact], *, has_viewer: bool) -> dict[str, bytes]:
    """The files by name; empty if no layer's units are done.

    Args: made: artefacts of the run's finished steps. has_viewer: there is an atlas to link to.
    """
    cells = {
        step.layer: artefact
        for step, artefact in made.items()
        if step.stage.name == UNIT_CELLS.name and artefact.notes["has_cells"]
    }
    families = _families(made)
    layers: list[dict[str, Any]] = []
    digests = [artefact.fingerprint for artefact in cells.values()]
    for step, artefact in made.items():
        if step.stage.name == UNIT_PAGES.name:
            of_layer = families.get(step.layer, {})
            layers.append(
                {"name": step.layer, "cells": step.layer in cells, "families": of_layer, **_facts(artefact)}
            )
            digests.append(artefact.fingerprint)
    if not layers:
        return {}
    layers.sort(key=lambda layer: config.unit_layers.index(layer["name"]))
    model = model_config(config)
    return unit_page_files(
        {
            "run": config.name,
            "model": network_name(config.model.source, config.model.name),
            "weights": weights_note(model),
            "random": has_random_weights(model),
            "digest": hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:12],
            "atlas": has_viewer,
            "layers": layers,
        }
    )


def _facts(artefact: Artefact) -> dict[str, Any]:
    notes = artefact.notes
    return {"units": notes["num_units"], "dead": notes["num_dead"], "images": notes["num_images"]}


def _families(made: Mapping[Step, Artefact]) -> dict[str | None, dict[str, list[int]]]:
    """By layer and by the path of a family's figure, the units of the family."""
    return {
        step.layer: {
            f"{step.layer}/{step.view}/{file}": units for file, units in artefact.notes["members"].items()
        }
        for step, artefact in made.items()
        if step.stage.name == TUNING_FIGURES.name
    }
