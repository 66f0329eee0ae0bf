"""Whether a run was made with the config that it is to be shown for. No network is opened for it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.sections import ClassConfig, ComparisonConfig, Config, GridConfig
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.reader.run import AtlasRun
from atlas_pipeline.views.view import class_view_name, comparison_view_name

# Of no influence on what a run makes. Images are known by their content: the same may lie elsewhere by now.
_HOW: dict[str, Any] = {"name": True, "run": True, "images": {"path", "max_bad"}}
# What an atlas of a whole layer, or of a selection, takes from the config beside its grids and its own entry.
_OF_AN_ATLAS = ("seed", "model", "images", "sample", "invert", "stitch")
_OF_NO_ATLAS: dict[str, Any] = {
    "images": {"path", "max_bad", "metadata"},
    "stitch": {"deep_zoom", "deep_zoom_format", "examples"},
}
_PROJECT_OF_A_SELECTION = ("metric", "engine", "num_epochs", "neighbors")
# What of an entry changes none of its atlases; grids are looked at one by one.
_OF_NO_VIEW: dict[str, Any] = {"layers": True, "patch_test": True, "grid": {"sizes"}}
_NAMES: dict[str, Any] = {"class_": True, "left": True, "right": True}

Entry = ClassConfig | ComparisonConfig
Difference = tuple[str, str, str] | None
"""A key, its value when the run was made, its value now; None: there is none."""


def refuse_other_archive(config: Config, run: AtlasRun) -> None:
    """Refuse to pack for one config what was made with another.

    Raises: ConfigError.
    """
    if (made := _config_of(run)) is not None:
        of_made, of_asked = (c.model_dump(mode="json", by_alias=True, exclude=_HOW) for c in (made, config))
        _refuse(run, _difference(of_made, of_asked))


def refuse_other_figure(config: Config, run: AtlasRun, request: FigureRequest | SheetRequest) -> None:
    """Refuse to draw for one config an atlas that was made with another.

    Raises: ConfigError.
    """
    made = _config_of(run)
    if made is None:
        return
    of_layers = request.kind == "layers" if isinstance(request, SheetRequest) else request.view == "all"
    _refuse(run, _difference(_of_atlas(made, of_layers), _of_atlas(config, of_layers)))
    if of_layers:
        _refuse(run, _grid_difference(made.grid, config.grid, made, request.grid))
    elif isinstance(request, SheetRequest):
        _refuse(run, _difference({"classes": _listed(made.classes)}, {"classes": _listed(config.classes)}))
    else:
        _refuse(run, _view_difference(made, config, request, run.views.get(request.layer, ())))


def _config_of(run: AtlasRun) -> Config | None:
    try:
        return parse_config(run.config)
    except ConfigError:
        # Of another version of this program, with other keys: its files say themselves what they are.
        return None


def _refuse(run: AtlasRun, difference: Difference) -> None:
    if difference is not None:
        key, was, now = difference
        raise ConfigError(
            f"run '{run.name}' was made with {key}: {was}, not {now}; make it anew with: atlas run"
        )


def _of_atlas(config: Config, of_layers: bool) -> dict[str, Any]:
    kept = config.model_dump(mode="json", exclude=_OF_NO_ATLAS)
    sections = {section: kept[section] for section in _OF_AN_ATLAS}
    if not of_layers:
        return sections | {"project": {key: kept["project"][key] for key in _PROJECT_OF_A_SELECTION}}
    # Layers that are laid out together are laid out otherwise without one of them.
    together = {"layers": kept["layers"]} if config.project.align else {}
    return sections | {"project": kept["project"], "grid": {"min_count": config.grid.min_count}} | together


def _view_difference(
    made: Config, asked: Config, request: FigureRequest, views: Collection[str]
) -> Difference:
    """Of the entries that make one class atlas or comparison. views: those that the layer has."""
    section = "comparisons" if request.view.startswith("compare-") else "classes"
    before, now = (_makers(getattr(config, section), request, views) for config in (made, asked))
    if bool(before) != bool(now):
        return section, _names(before), _names(now)
    if not any(_view_name(entry) == request.view for entry in (*before, *now)):
        return _difference({section: _listed(before)}, {section: _listed(now)})
    name = f"{section}.{request.view.partition('-')[2]}"
    for was, entry in product(before, now):
        found = _difference({name: _settings(was)}, {name: _settings(entry)})
        if found := found or _grid_difference(was.grid, entry.grid, made, request.grid, f"{name}.grid"):
            return found
    return None


def _makers(entries: Sequence[Entry], request: FigureRequest, views: Collection[str]) -> list[Entry]:
    """The entry that makes a view, known by its classes' names; else those that may.

    What an index, a WordNet id or ``all`` makes is not known without the network.
    """
    of_layer = [entry for entry in entries if entry.layers is None or request.layer in entry.layers]
    named = [entry for entry in of_layer if _view_name(entry) == request.view]
    return named or [entry for entry in of_layer if _view_name(entry) not in views]


def _view_name(entry: Entry) -> str:
    if isinstance(entry, ClassConfig):
        return class_view_name(entry.class_, entry.sign)
    return comparison_view_name(entry.left, entry.right)


def _settings(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude=_OF_NO_VIEW | _NAMES)


def _listed(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [entry.model_dump(mode="json", by_alias=True, exclude=_OF_NO_VIEW) for entry in entries]


def _names(entries: Sequence[Entry]) -> str:
    return json.dumps([_view_name(entry) for entry in entries], ensure_ascii=False)


def _grid_difference(
    made: GridConfig, asked: GridConfig, config: Config, grid: int | None, key: str = "grid"
) -> Difference:
    """Which grids there are the run says itself; but icons start from those of a grid listed before."""
    if config.invert.warm_steps is None:
        return None
    before, now = _starts(made.sizes), _starts(asked.sizes)
    looked_at = before.keys() & now.keys() if grid is None else before.keys() & now.keys() & {grid}
    if all(before[size] == now[size] for size in looked_at):
        return None
    return f"{key}.sizes", json.dumps(made.sizes), json.dumps(asked.sizes)


def _starts(sizes: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """For each grid those that its icons start from, the next coarser first; see `stages.invert.steps`."""
    starts: dict[int, tuple[int, ...]] = {}
    for size in sizes:
        coarser = max((other for other in starts if other < size), default=None)
        starts[size] = () if coarser is None else (coarser, *starts[coarser])
    return starts


def _difference(made: Mapping[str, Any], asked: Mapping[str, Any]) -> Difference:
    """The first key whose values differ."""
    for key, now in asked.items():
        # Some keys apply to one of the two alone.
        was = made.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            if found := _difference(was, now):
                return f"{key}.{found[0]}", found[1], found[2]
        elif was != now:
            return key, json.dumps(was, ensure_ascii=False), json.dumps(now, ensure_ascii=False)
    return None
