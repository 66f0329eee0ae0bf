"""Checks that a finished run was made with the config for which it is to be exported or drawn.

An atlas is unchanged if the recipes of the steps that make it are unchanged, back to the listing of the
images. The check reads nothing from the cache. It opens a network only if the config changed and names
classes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Publishes
from atlas_pipeline.engine.fingerprint import recipes
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.reader import CONFIG_FILE
from atlas_pipeline.reader.run import AtlasRun
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.view_atlas import layer_layouts, view_atlas
from atlas_pipeline.views.view import View, class_views, comparison_views, layer_view, slug

Request = FigureRequest | SheetRequest


class Difference(NamedTuple):
    """A key of the config, its value when the run was made, and its value now."""

    key: str
    was: Any
    now: Any


class AtlasKey(NamedTuple):
    """An atlas of a run."""

    layer: str
    view: str
    grid: int


def refuse_stale_archive(config: Config, run: AtlasRun) -> None:
    """Refuse to export a run for a config if it was made with another.

    Raises: ConfigError: a key that affects results differs; the message names it.
    """
    made = _config_of(run, config)
    if made is not None:
        for difference in _differences(_plain(made), _plain(config)):
            _refuse(run, difference)


def refuse_stale_figure(config: Config, run: AtlasRun, request: Request) -> None:
    """Refuse to draw atlases for a config if they were made with another.

    Raises: ConfigError: a requested atlas would differ; the message names the key. ModelError: the config
            changed, and names a class that the network does not have.
    """
    made = _config_of(run, config)
    differences = [] if made is None else list(_differences(_plain(made), _plain(config)))
    if made is None or not differences:
        return
    before = _atlases(made, request)
    if _are_same(before, _atlases(config, request), request.grid):
        return
    for difference in differences:
        # Look for a single key that changes the atlases; usually there is one.
        changed = parse_config(_with(_plain(made), difference))
        if not _are_same(before, _atlases(changed, request), request.grid):
            _refuse(run, difference)
    _refuse(run, differences[0])


def _config_of(run: AtlasRun, config: Config) -> Config | None:
    """The config that a run was made with; keys that do not affect results are taken from `config`."""
    try:
        made = parse_config(run.config)
    except ConfigError:
        # Another version of this program made the run, with other config keys, so it cannot be compared.
        return None
    # Images are identified by their content, so they may have moved since.
    images = made.images.model_copy(update={key: getattr(config.images, key) for key in ("path", "max_bad")})
    return made.model_copy(update={"name": config.name, "run": config.run, "images": images})


def _refuse(run: AtlasRun, difference: Difference) -> None:
    was, now = (json.dumps(value, ensure_ascii=False) for value in (difference.was, difference.now))
    key = _words(difference.key, run)
    # --set reaches no single entry of a list.
    repeat = f"repeat --set {shlex.quote(f'{key}={was}')}, or " if key == difference.key else ""
    raise ConfigError(
        f"run '{run.name}' was made with {key}: {was}, not {now}; {repeat}give {_own_config(run)} as CONFIG, "
        f"or bring the run up to date with: atlas run"
    )


def _own_config(run: AtlasRun) -> str:
    """The config in the run's folder, which all commands take."""
    return str(run.folder / CONFIG_FILE) if isinstance(run.folder, Path) else f"the run's {CONFIG_FILE}"


def _atlases(config: Config, request: Request) -> dict[AtlasKey, str]:
    """The recipe of every atlas that a request may show."""
    steps: dict[AtlasKey, Step] = {}
    # The stamp of the image files does not matter here.
    images = index.step(config, stamp="")
    samples, real_crops = sample.steps(config, images), crops.step(config, images)
    layouts = layer_layouts(config, samples)
    for view in _views(config, request):
        for layer in view.layers:
            if request.layer in (None, layer):
                layout = layouts[layer] if view.kind == "all" else None
                atlas = view_atlas(config, view, images, samples[layer], real_crops, layout)
                steps |= {
                    AtlasKey(layer, view.name, int(step.grid or 0)): step
                    for step in atlas.steps
                    if step.stage.publishes is Publishes.ATLAS
                }
    found = recipes(steps.values())
    return {key: found[step] for key, step in steps.items()}


def _views(config: Config, request: Request) -> list[View]:
    if isinstance(request, SheetRequest):
        return [layer_view(config)] if request.kind == "layers" else class_views(config)
    # Class views are only built when requested, since they may need the network for its class names.
    views = [layer_view(config)]
    if request.view != views[0].name:
        views = [*class_views(config), *comparison_views(config)]
    return [view for view in views if view.name == request.view]


def _are_same(made: Mapping[AtlasKey, str], asked: Mapping[AtlasKey, str], grid: int | None) -> bool:
    """Whether both configs have the same views, with equal recipes for the grids that they share.

    Args: made, asked: recipes of the atlases of the two configs. grid: the only grid to compare; None: all.
    """
    if {key.view for key in made} != {key.view for key in asked}:
        return False
    both = made.keys() & asked.keys()
    maps = {key[:2] for key in made} & {key[:2] for key in asked}
    if maps - {key[:2] for key in both}:
        # Both have a map (a layer and view) of which they share no grid.
        return False
    return all(made[key] == asked[key] for key in both if grid in (None, key.grid))


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True)


def _differences(made: Any, asked: Any, key: str = "") -> Iterator[Difference]:
    """The keys whose values differ. Lists of equally many entries are compared entry by entry."""
    if isinstance(made, dict) and isinstance(asked, dict):
        for name in asked:
            yield from _differences(made.get(name), asked[name], f"{key}.{name}".lstrip("."))
    elif _are_entries(made) and _are_entries(asked) and len(made) == len(asked):
        for number, (was, now) in enumerate(zip(made, asked, strict=True)):
            yield from _differences(was, now, f"{key}.{number}")
    elif made != asked:
        yield Difference(key, made, asked)


def _are_entries(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, dict) for value in values)


def _with(values: Any, difference: Difference) -> Any:
    """The values with one key set to its present value."""
    first, _, rest = difference.key.partition(".")
    below = Difference(rest, difference.was, difference.now)
    if isinstance(values, list):
        return [_with(v, below) if number == int(first) else v for number, v in enumerate(values)]
    return {**values, first: _with(values[first], below) if rest else difference.now}


def _words(key: str, run: AtlasRun) -> str:
    """A key with the class in place of the list index: ``classes.0.top`` becomes ``classes.zebra.top``."""
    section, number, *rest = [*key.split("."), ""]
    if not number.isdigit():
        return key
    entry = run.config[section][int(number)]
    name = "-".join(slug(str(entry[part])) for part in ("class", "left", "right") if part in entry)
    return ".".join(filter(None, (section, name, *rest)))
