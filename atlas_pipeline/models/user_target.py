"""Where the code of a ``python`` network lies, found without running any of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from atlas_pipeline.errors import ModelError

FORMS = "'my_package.my_file:build' or 'path/to/file.py:build'"


@dataclass(frozen=True, slots=True)
class PythonTarget:
    """An attribute of a python file; ``module`` is its dotted name, or None where it is known by its path."""

    file: Path
    attribute: str
    module: str | None


def locate(name: str | None) -> PythonTarget:
    """Read ``my_package.my_file:build`` or ``path/to/file.py:build``.

    Modules are looked for where Python does, then in the working folder.

    Raises: ModelError: not of that form, or there is no such file.
    """
    # From the right: a Windows path has a colon of its own.
    place, colon, attribute = (name or "").rpartition(":")
    if not colon or not place or not attribute.isidentifier():
        raise ModelError(f"model.name '{name}' must be {FORMS}")
    if place.endswith(".py"):
        file = Path(place).expanduser()
        if not file.is_file():
            raise ModelError(f"model.name: there is no file '{place}'; give {FORMS}")
        return PythonTarget(file.resolve(), attribute, None)
    return PythonTarget(_module_file(place), attribute, place)


def _module_file(module: str) -> Path:
    """The file of a dotted module name; importlib's own search would import, and so run, its parents."""
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
