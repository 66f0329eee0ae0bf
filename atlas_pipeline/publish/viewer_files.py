"""What of a run's folder the viewer is: its page, its scripts, and the list of what there is to see."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from atlas_pipeline.config.network import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Artefact
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import CorruptArtefactError
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.pictures.colours import QUALITATIVE, density_colours
from atlas_pipeline.stages.atlas.bin import why_empty
from atlas_pipeline.viewer.known_images import MOST_IMAGES
from atlas_pipeline.viewer.page_files import page_files
from atlas_pipeline.views.views import class_views, comparison_views

# Stages whose files the viewer loads.
VIEWER_STAGES = ("keys", "places", "tiles", "examples", "shares")
# Colours of a scale, between which the browser goes in straight lines.
_SCALE_COLOURS = 33


def viewer_files(config: Config, made: Mapping[Step, Artefact], *, has_report: bool) -> dict[str, bytes]:
    """By name: ``index.html``, ``viewer/...`` and ``viewer/run.js``; none before a layout is there.

    Args: made: what of the run's steps is done. has_report: there is a ``report.html`` to link to.
    """
    layers = _layers(config, made)
    if not layers:
        return {}
    model, num_images = model_config(config), index_of(made).num_rows
    scale = density_colours([n / (_SCALE_COLOURS - 1) for n in range(_SCALE_COLOURS)])
    run = {
        "run": config.name,
        "digest": _digest(*sorted(a.fingerprint for s, a in made.items() if s.stage.name in VIEWER_STAGES)),
        "model": network_name(config.model.source, config.model.name),
        "weights": weights_note(model),
        "random": has_random_weights(model),
        "images": num_images,
        "known": min(num_images, MOST_IMAGES),
        "positions": config.sample.positions_per_image,
        "generated": config.images.source == "generated",
        "layers": layers,
        "shares": next((a.notes["shares"] for step, a in made.items() if _has_shares(step, a)), []),
        "keys": any(step.stage.name == "keys" for step in made),
        "report": has_report,
        "scale": [_hex(colour) for colour in scale],
        "palette": [_hex(colour) for colour in QUALITATIVE],
    }
    return page_files(run)


def _has_shares(step: Step, artefact: Artefact) -> bool:
    # A view without cells has none; all others have the same.
    return step.stage.name == "shares" and artefact.num_rows > 0


def index_of(made: Mapping[Step, Artefact]) -> Artefact:
    """The listing of the images that everything else was made from.

    Raises: CorruptArtefactError: it was altered since.
    """
    for step, artefact in made.items():
        if step.stage.name == "index":
            return artefact
    raise CorruptArtefactError("the index was altered while its run went on; run the same command again")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _layers(config: Config, made: Mapping[Step, Artefact]) -> list[dict[str, Any]]:
    """Layers in the order of the config, each with the views that have a layout."""
    titles = _titles(config)
    of_layer: dict[str, list[dict[str, Any]]] = {layer: [] for layer in config.layers}
    for step, artefact in made.items():
        if step.stage.name == "places" and artefact.num_rows:
            view = str(step.view)
            of_layer[str(step.layer)].append(
                {
                    "name": view,
                    **titles.get(view, {"title": view}),
                    **_view(config.name, made, str(step.layer), view),
                }
            )
    return [{"name": layer, "views": views} for layer, views in of_layer.items() if views]


def _titles(config: Config) -> dict[str, dict[str, Any]]:
    classes = {
        view.view: {
            "title": view.label if view.entry.sign == "positive" else f"against {view.label}",
            "kind": "class",
        }
        for view in class_views(config)
    }
    comparisons = {
        view.view: {"title": " / ".join(view.labels), "kind": "comparison", "axis": list(view.labels)}
        for view in comparison_views(config)
    }
    return {"all": {"title": "All activations", "kind": "all"}, **classes, **comparisons}


def _view(run_name: str, made: Mapping[Step, Artefact], layer: str, view: str) -> dict[str, Any]:
    here = {
        (step.stage.name, step.grid): artefact
        for step, artefact in made.items()
        if (step.layer, step.view) == (layer, view)
    }
    tiles = {grid: a for (stage, grid), a in here.items() if stage == "tiles" and grid and a.num_rows}
    reasons = [why_empty(a) for (stage, _), a in here.items() if stage == "bin"]
    crops = {grid: here.get(("examples", grid)) for grid in tiles}
    layout = here.get(("project", None))
    if layout is None:
        raise CorruptArtefactError(
            f"the layout of {layer} ({view}) was altered while its run went on; run the same command again"
        )
    return {
        "activations": layout.num_rows,
        # Tells a link to this map from one to another: of another run, or laid out otherwise.
        "map": _digest(run_name, layout.fingerprint),
        "grids": [
            {"size": grid, "cropPx": crop.notes.get("px", 0) if (crop := crops[grid]) else 0}
            for grid in sorted(tiles)
        ],
        "missing": "" if tiles else next(filter(None, reasons), "its icons are not made yet"),
    }


def _hex(colour: Any) -> str:
    return "#" + bytes(colour).hex()
