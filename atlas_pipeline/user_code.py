"""Python files of the user's own: networks and pipelines. To import one is to run it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


def import_file(name: str, file: Path) -> ModuleType:
    """Import a file as the module ``name``, which stays in ``sys.modules``.

    Raises: ImportError: it is no Python file. Whatever its code raises.
    """
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look their module up by name.
    sys.modules[name] = module
    with searching(file.parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def searching(folder: Path) -> Iterator[None]:
    """Let imports look into ``folder`` too, after everywhere else, as running a script from it would."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def reason_of(error: Exception) -> str:
    """Why the user's code failed, in a line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
