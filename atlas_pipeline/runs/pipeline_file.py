"""Pipeline files: ours are given by name, a user's own by path; each defines ``pipeline(config)``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import ordered
from atlas_pipeline.engine.location import disk_errors
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import AtlasError, ConfigError, unknown_name
from atlas_pipeline.shipped import shipped
from atlas_pipeline.user_code import import_file, reason_of


def needed_pipelines(config: Config) -> list[str]:
    """The names of our pipelines that a config needs."""
    names = {
        "class_atlas": config.classes,
        "class_comparison": config.comparisons,
        "units": config.units is not None,
        "tuning": config.tuning is not None,
        "image": config.image.pictures,
        "dream": config.dream is not None,
        "directions": config.directions is not None,
    }
    return ["layer_atlas", *(name for name, views in names.items() if views)]


def pipeline_path(name: str) -> Path:
    """The file of a pipeline, ours by its name or a user's own by its path.

    Raises: ConfigError: no such file, or no pipeline of that name (the nearest is named). ResourceError: the
            file cannot be read.
    """
    if _is_users(name):
        path = Path(name).expanduser()
        with disk_errors(path):
            is_there = path.is_file()
        if not is_there:
            raise ConfigError(
                f"pipeline '{name}' does not exist; give the path of a .py file or the name of one of ours"
            )
        return path
    ours = shipped("pipelines", ".py")
    if name not in ours:
        raise ConfigError(
            unknown_name("pipeline", name, ours, "ours", "Your own: give the path of its .py file")
        )
    return ours[name]


def steps_of(config: Config, name_or_path: str | None = None) -> list[Step]:
    """The steps that a pipeline makes from a config; None: the steps of all pipelines that the config needs.

    Equal steps of two pipelines become one step.

    Raises: ConfigError: the file does not define ``pipeline(config)``, or the function fails.
    """
    if name_or_path is not None and _is_users(name_or_path):
        return _steps_of_users(pipeline_path(name_or_path), config)
    names = [name_or_path] if name_or_path else needed_pipelines(config)
    return ordered(step for name in names for step in _steps_of_file(pipeline_path(name), config))


def _is_users(name: str) -> bool:
    return name.endswith(".py") or "/" in name


def _steps_of_users(path: Path, config: Config) -> list[Step]:
    try:
        steps = list(_steps_of_file(path, config))
        if others := [step for step in steps if not isinstance(step, Step)]:
            raise TypeError(f"pipeline(config) must yield steps, not {type(others[0]).__name__}")
        return ordered(steps)
    except AtlasError:
        raise
    except Exception as error:
        raise ConfigError(f"pipeline '{path}' failed: {reason_of(error)}") from error


def _steps_of_file(path: Path, config: Config) -> Iterable[Any]:
    name = f"atlas_pipelines.{path.stem}"
    try:
        module = import_file(name, path)
        if not callable(getattr(module, "pipeline", None)):
            raise ConfigError(
                f"pipeline '{path}' has no function pipeline(config); see pipelines/layer_atlas.py"
            )
        return list(module.pipeline(config))
    finally:
        # Workers cannot import this module. Without it in sys.modules, its functions are pickled by value.
        sys.modules.pop(name, None)
