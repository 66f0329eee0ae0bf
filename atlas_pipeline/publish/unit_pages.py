"""The pages of units and of atoms in a run folder: the page, its script and style, and the layers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Artefact
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.stages.directions.atom_pages import ATOM_PAGES
from atlas_pipeline.stages.tuning.tuning_figures import TUNING_FIGURES
from atlas_pipeline.stages.units.unit_cells import UNIT_CELLS
from atlas_pipeline.stages.units.unit_pages import UNIT_PAGES
from atlas_pipeline.viewer.unit_files import atom_page_files, unit_page_files

UNIT_PAGE, ATOM_PAGE = "units/index.html", "directions/index.html"


def units_with_pages(config: Config, made: Mapping[Step, Artefact]) -> dict[str, int]:
    """By layer, how many units have pages, in the order of the config; without layers that have none."""
    found = _noted(made, UNIT_PAGES.name, "num_units")
    return {layer: found[layer] for layer in config.unit_layers if layer in found}


def atoms_with_pages(config: Config, made: Mapping[Step, Artefact]) -> dict[str, int]:
    """As `units_with_pages`, for the atoms of layers."""
    found = _noted(made, ATOM_PAGES.name, "num_shown")
    return {layer: found[layer] for layer in config.direction_layers if layer in found}


def _noted(made: Mapping[Step, Artefact], stage: str, note: str) -> dict[str, int]:
    """By layer, a note of the artefacts of a stage."""
    return {str(step.layer): int(one.notes[note]) for step, one in made.items() if step.stage.name == stage}


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
    return unit_page_files(_run(config, layers, digests, has_viewer=has_viewer))


def atom_pages(config: Config, made: Mapping[Step, Artefact], *, has_viewer: bool) -> dict[str, bytes]:
    """As `unit_pages`, for the atoms of layers."""
    pages = {step.layer: one for step, one in made.items() if step.stage.name == ATOM_PAGES.name}
    layers = [
        {"name": layer, **_atom_facts(pages[layer])} for layer in config.direction_layers if layer in pages
    ]
    if not layers:
        return {}
    digests = [artefact.fingerprint for artefact in pages.values()]
    return atom_page_files(_run(config, layers, digests, has_viewer=has_viewer))


def _run(
    config: Config, layers: Sequence[Mapping[str, Any]], digests: Sequence[str], *, has_viewer: bool
) -> dict[str, Any]:
    model = model_config(config)
    return {
        "run": config.name,
        "model": network_name(config.model.source, config.model.name),
        "weights": weights_note(model),
        "random": has_random_weights(model),
        "digest": hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:12],
        "atlas": has_viewer,
        "layers": list(layers),
    }


def _facts(artefact: Artefact) -> dict[str, Any]:
    notes = artefact.notes
    return {"units": notes["num_units"], "dead": notes["num_dead"], "images": notes["num_images"]}


def _atom_facts(artefact: Artefact) -> dict[str, Any]:
    notes = artefact.notes
    return {
        "method": notes["method"],
        "atoms": notes["num_atoms"],
        "units": notes["num_shown"],
        "dead": notes["num_dead"],
        "fitted": notes["num_fitted"],
        "activations": notes["num_activations"],
        "left": notes["left"],
        "leastLeft": notes["least_left"],
    }


def _families(made: Mapping[Step, Artefact]) -> dict[str | None, dict[str, list[int]]]:
    """By layer and by the path of a family's figure, the units of the family."""
    return {
        step.layer: {
            f"{step.layer}/{step.view}/{file}": units for file, units in artefact.notes["members"].items()
        }
        for step, artefact in made.items()
        if step.stage.name == TUNING_FIGURES.name
    }
