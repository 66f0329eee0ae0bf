"""From a YAML file to a ``Config``: overrides, and mistakes told in one line with the nearest known key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError

from atlas_pipeline.config import Config
from atlas_pipeline.errors import ConfigError, unknown_name
from atlas_pipeline.shipped import shipped

_SHOULD = "Input should be "


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config, a file or one of ours by its name (``quickstart``), and apply ``a.b=c`` overrides.

    Raises: ConfigError: no such file, not YAML, an unknown key (nearest named), a value that does not fit.
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
        raise ConfigError(f"config '{path}' is not a mapping of keys; see configs/ for ones that work")
    return parse_config(_override(dict(values), overrides), where=str(path))


def parse_config(values: Mapping[str, Any], where: str = "config") -> Config:
    """Validate a mapping; the first mistake is told in one line.

    Raises: ConfigError.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_mistake(error)}") from None


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


def _first_mistake(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    path = [str(part) for part in first["loc"]]
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return unknown_name("key", path[-1], _keys_of(path[:-1]), ".".join(path[:-1]) or "the config")
    # Of a key that may be one thing or another each tells its own; what went furthest was meant.
    alternatives = [e for e in (first, *others) if _key_path(e)[: len(_key_path(first))] == _key_path(first)]
    mistake = max(alternatives, key=lambda e: len(_key_path(e)))
    key = ".".join(_key_path(mistake))
    if mistake["type"] == "missing":
        return f"key '{key}' is missing"
    told = dict.fromkeys(_told(e) for e in alternatives if _key_path(e) == _key_path(mistake))
    message = ", or ".join(words if n == 0 else words.removeprefix(_SHOULD) for n, words in enumerate(told))
    given = f" (given: {mistake['input']!r})" if not isinstance(mistake["input"], Mapping | BaseModel) else ""
    return f"{key}: {message}{given}" if key else message + given


def _key_path(mistake: Mapping[str, Any]) -> list[str]:
    """Where a mistake is in the YAML: without pydantic's own words for types."""
    path = (str(part) for part in mistake["loc"])
    return [p for p in path if not p.startswith(("function-", "literal[", "tuple[", "constrained-"))]


def _told(mistake: Mapping[str, Any]) -> str:
    # YAML has lists.
    return str(mistake["msg"]).removeprefix("Value error, ").replace("a valid tuple", "a list")


def _keys_of(path: Sequence[str]) -> list[str]:
    """The keys that the section at ``path`` has."""
    section: Any = Config
    for part in path:
        if not part.isdigit():  # a place in a list is of the list's own type
            section = _section_in(_fields(section)[part])
    return list(_fields(section))


def _section_in(annotation: Any) -> Any:
    """The section within an annotation such as ``X | None`` or ``tuple[X, ...]``."""
    if _fields(annotation):
        return annotation
    return next((found for option in get_args(annotation) if (found := _section_in(option))), None)


def _fields(section: Any) -> dict[str, Any]:
    """Key -> annotation, of a pydantic model or a dataclass; nothing for any other type."""
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    return get_type_hints(section) if is_dataclass(section) else {}
