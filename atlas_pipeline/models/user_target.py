"""The location of a ``python`` network's code, found without running any of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.named_file import named_file

FORMS = "'my_package.my_file:build' or 'path/to/file.py:build'"


@dataclass(frozen=True, slots=True)
class PythonTarget:
    """An attribute of a Python file. module: its dotted name; None if it was given by path."""

    file: Path
    attribute: str
    module: str | None


def locate(name: str | None) -> PythonTarget:
    """Parse ``my_package.my_file:build`` or ``path/to/file.py:build``.

    Modules are searched on Python's path first, then in the working folder.

    Raises: ModelError: another form, or no such file.
    """
    # From the right, since a Windows path has its own colon.
    place, colon, attribute = (name or "").rpartition(":")
    if not colon or not place or not attribute.isidentifier():
        raise ModelError(f"model.name '{name}' must be {FORMS}")
    if place.endswith(".py"):
        file = named_file(place, "model.name")
        if not file.is_file():
            raise ModelError(f"model.name: there is no file '{place}'; give {FORMS}")
        return PythonTarget(file.resolve(), attribute, None)
    return PythonTarget(_module_file(place), attribute, place)


def _module_file(module: str) -> Path:
    """The file of a dotted module name; importlib's own search would import its parents, which runs them."""
    search: list[str] | None = [*sys.path, str(Path.cwd())]
    found = None
    for part in module.split("."):
        found = PathFinder.find_spec(part, search)
        if found is None:
            break
        search = list(found.submodule_search_locations or [])
    if found is None or not found.origin or not found.origin.endswith(".py"):
        raise ModelError(f"model.name: there is no Python module '{module}' here; give {FORMS}")
    return Path(found.origin)
