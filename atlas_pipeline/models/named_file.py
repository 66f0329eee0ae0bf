"""Files that a config names: a path, or ``package:NAME/path``, a file of an installed Python package."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

from atlas_pipeline.errors import ModelError

PREFIX = "package:"


def named_file(text: str, key: str) -> Path:
    """The path of a file that a config names; whether a plain path exists is left to the caller.

    The package is found without importing it, so none of its code runs.

    Args:   key: the config's key, for the message, such as ``model.weights``.
    Raises: ModelError: no such package, or no such file in it.
    """
    if not text.startswith(PREFIX):
        return Path(text).expanduser()
    name, slash, inside = text.removeprefix(PREFIX).partition("/")
    if not name or not slash or not inside:
        raise ModelError(f"{key} '{text}' must be {PREFIX}NAME/path/of/the/file")
    # Distributions are named with hyphens, their packages with underscores.
    spec = PathFinder.find_spec(name.replace("-", "_"), sys.path)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    if not folders:
        raise ModelError(f"{key} '{text}': no package '{name}' is installed here; install it, or give a path")
    for folder in folders:
        file = Path(folder) / inside
        # A path with .. must not leave the package.
        if file.is_file() and file.resolve().is_relative_to(Path(folder).resolve()):
            return file
    raise ModelError(
        f"{key} '{text}': {folders[0]} has no file '{inside}'{_others(Path(folders[0]), inside)}"
    )


def _others(folder: Path, inside: str) -> str:
    """The package's files of the same kind, for the message."""
    found = sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob(f"*{Path(inside).suffix or '.pth'}")
    )
    return f"; it has: {', '.join(found[:3])}" if found else ""
