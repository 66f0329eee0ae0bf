"""Pipelines are files: ours by name, a user's own by path; each has a function ``pipeline(config)``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from atlas_pipeline.config import Config
from atlas_pipeline.engine import ordered
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import ConfigError, unknown_name
from atlas_pipeline.shipped import shipped


def asked_for(config: Config) -> list[str]:
    """The pipelines of ours that a config asks for."""
    names = {"class_atlas": config.classes, "class_comparison": config.comparisons}
    return ["layer_atlas", *(name for name, views in names.items() if views)]


def pipeline_path(name: str) -> Path:
    """The file of a pipeline, ours by its name or a user's own by its path.

    Raises: ConfigError: no such file, or no pipeline of that name (the nearest is named).
    """
    if name.endswith(".py") or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
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
    """The steps that a pipeline makes of a config; None: those of all that the config asks for.

    What two pipelines have in common is one step.

    Raises: ConfigError: the file does not define ``pipeline(config)``.
    """
    names = [name_or_path] if name_or_path else asked_for(config)
    return ordered(step for name in names for step in _steps_of_file(pipeline_path(name), config))


def _steps_of_file(path: Path, config: Config) -> Iterator[Step]:
    spec = importlib.util.spec_from_file_location(f"atlas_pipelines.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"pipeline '{path}' cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "pipeline", None)):
        raise ConfigError(f"pipeline '{path}' has no function pipeline(config); see pipelines/layer_atlas.py")
    yield from module.pipeline(config)
