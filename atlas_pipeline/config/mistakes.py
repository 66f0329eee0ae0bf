"""One-line messages on mistakes in a config: the key, its value, the allowed values, the nearest of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from atlas_pipeline.config.sections import Config
from atlas_pipeline.errors import unknown_name
from atlas_pipeline.inversion.settings import SettingError

Mistake = Mapping[str, Any]
"""One entry of pydantic's ``ValidationError.errors()``."""

# Allowed values by type of pydantic error; braces are filled from the error's context.
_ALLOWED = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "missing_argument": "given",
}
_ALLOWED_BY_TYPE = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a section of keys",
    "model": "a section of keys",
    "dataclass": "a section of keys",
}
# difflib ratio at which a word counts as a misspelling; 'parralel' for 'parallel' passes.
_LIKENESS = 0.6


def first_mistake(error: ValidationError) -> str:
    """One line on pydantic's first error, such as ``grid.min_count is 0; it must be at least 1``."""
    first, *others = error.errors(include_url=False)
    path = [str(part) for part in first["loc"]]
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return unknown_name("key", path[-1], _keys_of(path[:-1]), ".".join(path[:-1]) or "the config")
    # A key with several allowed types has an error for each. The deepest error is about the intended type.
    alternatives = [e for e in (first, *others) if _key_path(e)[: len(_key_path(first))] == _key_path(first)]
    mistake = max(alternatives, key=lambda e: len(_key_path(e)))
    if mistake["type"] == "missing":
        return f"key '{'.'.join(_key_path(mistake))}' is missing"
    if mistake["type"] == "value_error":
        return _from_our_validator(mistake)
    reported = [e for e in alternatives if _key_path(e) == _key_path(mistake)]
    allowed = ", or ".join(dict.fromkeys(map(_allowed, reported)))
    expected = (str(e.get("ctx", {}).get("expected")) for e in reported)
    words = [word for text in expected for word in re.findall(r"'([^']*)'", text)]
    key = ".".join(_key_path(mistake)) or "the config"
    return _line(key, mistake["input"], allowed, words)


def _from_our_validator(mistake: Mistake) -> str:
    """One line on an error raised by one of our validators, whose message names the allowed values."""
    error, key = mistake["ctx"]["error"], ".".join(_key_path(mistake))
    if isinstance(error, SettingError):
        return _line(f"{key}.{error.name}", error.value, error.allowed, error.words)
    given = mistake["input"]
    is_plain = key and not isinstance(given, Mapping | BaseModel)
    return f"{key} is {_shown(given)}: {error}" if is_plain else f"{key}: {error}" if key else str(error)


def _line(key: str, value: object, allowed: str, words: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(value, words, n=1, cutoff=_LIKENESS) if isinstance(value, str) else []
    return f"{key} is {_shown(value)}; it must be {allowed}" + (
        f"; nearest: '{nearest[0]}'" if nearest else ""
    )


def _shown(value: object) -> str:
    """A value as it is written in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def _allowed(mistake: Mistake) -> str:
    kind = str(mistake["type"])
    if kind == "string_pattern_mismatch":
        # All patterns are lists of alternatives, such as '^(auto|cpu|cuda(:\d+)?)$'.
        pattern = str(mistake["ctx"]["pattern"]).replace(r"(:\d+)?", "[:n]")
        return " or ".join(pattern.strip("^$()").split("|"))
    if kind in _ALLOWED:
        return _ALLOWED[kind].format(**mistake.get("ctx", {}))
    for name, words in _ALLOWED_BY_TYPE.items():
        if kind.startswith(f"{name}_"):
            return words
    return str(mistake["msg"]).removeprefix("Input should be ")


def _key_path(mistake: Mistake) -> list[str]:
    """The path of a mistake in the YAML, without the parts that pydantic adds for types."""
    path = (str(part) for part in mistake["loc"])
    return [p for p in path if not p.startswith(("function-", "literal[", "tuple[", "constrained-"))]


def _keys_of(path: Sequence[str]) -> list[str]:
    """The keys of the section at ``path``."""
    section: Any = Config
    for part in path:
        if not part.isdigit():  # list indices do not change the section
            section = _section_in(_fields(section)[part])
    return list(_fields(section))


def _section_in(annotation: Any) -> Any:
    """The section within an annotation such as ``X | None`` or ``tuple[X, ...]``."""
    if _fields(annotation):
        return annotation
    return next((found for option in get_args(annotation) if (found := _section_in(option))), None)


def _fields(section: Any) -> dict[str, Any]:
    """Key -> annotation of a pydantic model or a dataclass; empty for any other type."""
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    return get_type_hints(section) if is_dataclass(section) else {}
