"""Load a ``Config`` from a YAML file, with overrides; a mistake is one line with the nearest known key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from atlas_pipeline.config.mistakes import first_mistake
from atlas_pipeline.config.sections import Config
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.shipped import shipped


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config, from a path or from ours by name (``quickstart``), and apply ``a.b=c`` overrides.

    Raises: ConfigError: no such file, not YAML, an unknown key (nearest named), an invalid value.
    """
    ours = shipped("configs", ".yaml")
    path = Path(path)
    try:
        if not path.exists() and str(path).removesuffix(".yaml").removeprefix("configs/") in ours:
            path = ours[path.stem]
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
    return parse_config(_override(dict(values), overrides), where=str(path))


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
