"""The viewer's part of a run folder: its page, its scripts, and a description of the run's contents.

Each stage declares the facts about its artefacts that the viewer needs (`Stage.viewer`). This module combines
them by layer, view and grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Artefact
from atlas_pipeline.engine.declaration import Publishes, ViewerFacts
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import CorruptArtefactError
from atlas_pipeline.images.sources import SOURCES
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.pictures.colours import QUALITATIVE, density_colours
from atlas_pipeline.stages.sampling.index import INDEX
from atlas_pipeline.viewer.known_images import MAX_KNOWN_IMAGES
from atlas_pipeline.viewer.page_files import page_files
from atlas_pipeline.views.view import View

# Sampled colours of the density scale; the browser interpolates linearly between them.
_SCALE_COLOURS = 33


def viewer_files(
    config: Config,
    views: Sequence[View],
    made: Mapping[Step, Artefact],
    *,
    has_report: bool,
    has_units: bool = False,
    atom_layers: Collection[str] = (),
    num_pictures: int = 0,
) -> dict[str, bytes]:
    """The viewer's files by name: ``index.html``, ``viewer/...`` and ``viewer/run.js``.

    Args:    made: artefacts of the run's finished steps. has_report: there is a ``report.html`` to link to.
             has_units: there are pages of units. atom_layers: layers with pages of atoms. num_pictures:
             pictures with a page.
    Returns: Name to content; empty if no layout is done.
    """
    facts = {
        step: step.stage.viewer(artefact) for step, artefact in made.items() if step.stage.viewer is not None
    }
    layers = _layers(config, views, facts)
    if not layers:
        return {}
    of_run: dict[str, Any] = {"shares": [], "keys": False}
    for found in facts.values():
        of_run |= found.run
    model, num_images = model_config(config), index_of(made).num_rows
    scale = density_colours([n / (_SCALE_COLOURS - 1) for n in range(_SCALE_COLOURS)])
    loaded = sorted(a.fingerprint for s, a in made.items() if s.stage.publishes is Publishes.VIEWER)
    run = {
        "run": config.name,
        "digest": _digest(*loaded),
        "model": network_name(config.model.source, config.model.name),
        "weights": weights_note(model),
        "random": has_random_weights(model),
        "images": num_images,
        "known": min(num_images, MAX_KNOWN_IMAGES),
        "positions": config.sample.positions_per_image,
        "generated": not SOURCES[config.images.source].takes_path,
        "layers": layers,
        **of_run,
        "report": has_report,
        "unitPages": has_units,
        "atomPages": list(atom_layers),
        "pictures": num_pictures,
        "scale": [_hex(colour) for colour in scale],
        "palette": [_hex(colour) for colour in QUALITATIVE],
    }
    return page_files(run, {step.stage.name for step in made})


def index_of(made: Mapping[Step, Artefact]) -> Artefact:
    """The listing of the images, from which everything else was made.

    Raises: CorruptArtefactError: it is not among the finished steps, because it was altered since.
    """
    for step, artefact in made.items():
        if step.stage.name == INDEX.name:
            return artefact
    raise CorruptArtefactError("the index was altered while its run went on; run the same command again")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _layers(config: Config, views: Sequence[View], facts: Mapping[Step, ViewerFacts]) -> list[dict[str, Any]]:
    """The layers in the order of the config, each with its views that have a layout."""
    layers = []
    for layer in config.layers:
        shown = [_view(config.name, view, layer, facts) for view in views]
        if of_layer := [view for view in shown if view is not None]:
            layers.append({"name": layer, "views": of_layer})
    return layers


def _view(run_name: str, view: View, layer: str, facts: Mapping[Step, ViewerFacts]) -> dict[str, Any] | None:
    """A view of a layer; None if its layout is not done or is empty."""
    here = {step: found for step, found in facts.items() if (step.layer, step.view) == (layer, view.name)}
    known: dict[str, Any] = {}
    for found in here.values():
        # Earlier facts take precedence: if several grids have no icons, the reason of the first is given.
        known = {**found.view, **known}
    if not known.get("places"):
        return None
    if "layout" not in known:
        raise CorruptArtefactError(
            f"the layout of {layer} ({view.name}) was altered while its run went on; run the same command "
            "again"
        )
    grids = _grids(here)
    return {
        "name": view.name,
        "title": view.title,
        "kind": view.kind,
        **({"axis": list(view.axis)} if view.axis else {}),
        "activations": known["activations"],
        # Identifies the map in links: a link to another run or to another layout has a different value.
        "map": _digest(run_name, known["layout"]),
        "grids": grids,
        "names": known.get("names", False),
        # The grid whose cells name units with pages.
        **({"units": known["units"]} if known.get("units") else {}),
        "missing": "" if grids else known.get("missing", "its icons are not made yet"),
    }


def _grids(facts: Mapping[Step, ViewerFacts]) -> list[dict[str, Any]]:
    """The grids that have tiles, in order of size."""
    by_size: dict[int, dict[str, Any]] = {}
    for step, found in facts.items():
        if step.grid is not None:
            by_size.setdefault(step.grid, {}).update(found.grid)
    return [
        {"size": size, "cropPx": known.get("crop_px", 0)}
        for size, known in sorted(by_size.items())
        if known.get("tiles")
    ]


def _hex(colour: Any) -> str:
    return "#" + bytes(colour).hex()
