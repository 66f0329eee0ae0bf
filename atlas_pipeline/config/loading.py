"""Load a ``Config`` from a YAML file, with overrides; a mistake is one line with the nearest known key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atlas_pipeline.config.mistakes import first_mistake
from atlas_pipeline.config.sections import Config, ModelConfig
from atlas_pipeline.errors import ConfigError, unknown_name
from atlas_pipeline.models.sources import SOURCES
from atlas_pipeline.reader import CONFIG_FILE
from atlas_pipeline.shipped import shipped

# Sources whose weights are in the package or in the user's code.
_WITH_OWN_WEIGHTS = ("demo", "python")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config and apply ``a.b=c`` overrides.

    Args:   path: of a YAML file; or the folder of a run, ``<workspace>/runs/<name>``, or the config in it:
            the run is then taken to be where it lies; or the name of a config of ours (``quickstart``).
    Raises: ConfigError: no such file, not YAML, an unknown key (nearest named), an invalid value.
    """
    values, where = _read_config(Path(path))
    return parse_config(_override(values, overrides), where=where)


def load_network(config: str, overrides: Sequence[str] = ()) -> tuple[ModelConfig, int]:
    """The section ``model`` and the seed of a config that may lack all others, such as ``layers``.

    Args:   config: as for `load_config`, or a network such as ``torchvision:resnet18``.
    Raises: ConfigError: as `load_config`, for these keys.
    """
    if (network := named_network(config)) is not None:
        # Random weights need no download, and the layers are the same.
        weights = {} if network["source"] in _WITH_OWN_WEIGHTS else {"weights": "random"}
        values, where = dict[str, Any](model={**network, **weights}), config
    else:
        values, where = _read_config(Path(config))
    try:
        loaded = _NetworkOnly.model_validate(_override(values, overrides))
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_mistake(error)}") from None
    return loaded.model, loaded.seed


def named_network(text: str) -> dict[str, Any] | None:
    """The section ``model`` for a network named ``SOURCE:NAME`` or ``SOURCE``; None if it is a config's path.

    Raises: ConfigError: no such source; the message gives the nearest.

    >>> named_network("torchvision:resnet18")
    {'source': 'torchvision', 'name': 'resnet18'}
    >>> named_network("python:nets/mine.py:build")
    {'source': 'python', 'name': 'nets/mine.py:build'}
    """
    source, _, name = text.partition(":")
    # A path, a URL, or a drive of Windows has a colon elsewhere, or after one letter.
    is_named = bool(name) and source.isidentifier() and len(source) > 1 and not name.startswith("//")
    if Path(text).exists() or not (source in SOURCES or is_named):
        return None
    if source not in SOURCES:
        raise ConfigError(
            unknown_name("source", source, SOURCES, "the sources of networks", "E.g. torchvision:resnet18")
        )
    return {"source": source, **({"name": name} if name else {})}


class _NetworkOnly(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model: ModelConfig
    seed: int = Field(0, ge=0)


def _read_config(path: Path) -> tuple[dict[str, Any], str]:
    """The values of a config, and the path of the file that they are from."""
    ours = shipped("configs", ".yaml")
    try:
        folder = _run_folder(path)
        if not path.exists() and str(path).removesuffix(".yaml").removeprefix("configs/") in ours:
            path = ours[path.stem]
        if folder is not None:
            path = folder / CONFIG_FILE
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(ours)
        raise ConfigError(
            f"config '{path}' does not exist; ours can be named without a path: {known}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config '{path}' cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"config '{path}' is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"config '{path}' is not a mapping of keys; see configs/ for examples")
    values = dict(values)
    if folder is not None:
        # A relative workspace in the file counts from the folder in which the run was started.
        workspace, here = folder.resolve().parents[1], Path.cwd()
        shown = workspace.relative_to(here) if workspace.is_relative_to(here) else workspace
        values |= {"name": folder.resolve().name, "run": {**values.get("run", {}), "workspace": str(shown)}}
    return values, str(path)


def _run_folder(path: Path) -> Path | None:
    """The run's folder that ``path`` is or, as its config, lies in; None if it is neither.

    Raises: ConfigError: a folder that is not a run's.
    """
    folder = path.parent if path.name == CONFIG_FILE else path
    is_run = (folder / CONFIG_FILE).is_file() and folder.resolve().parent.name == "runs"
    if path.is_dir() and not is_run:
        raise ConfigError(
            f"config '{path}' is a folder, and not that of a run (WORKSPACE/runs/NAME with a {CONFIG_FILE}); "
            "give a YAML file or the folder of a run"
        )
    return folder if is_run else None


def parse_config(values: Mapping[str, Any], where: str = "config") -> Config:
    """Validate a mapping of config values.

    Args:   where: the origin of the values, named in the error.
    Raises: ConfigError: one line on the first mistake.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_mistake(error)}") from None


def _override(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set '{text}' is not of the form a.b=c, e.g. --set invert.steps=64")
        section = values
        *parents, last = key.split(".")
        for parent in parents:
            child = section.get(parent)
            section[parent] = section = dict(child) if isinstance(child, Mapping) else {}
        try:
            section[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set '{text}': the value is not YAML") from None
    return values
