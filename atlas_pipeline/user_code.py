"""Python files of the user: networks and pipelines. Importing one runs it."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

# Code that is not the user's: the standard library, installed packages, this package.
_OTHER_FOLDERS = tuple(
    f"{Path(str(folder)).resolve()}{os.sep}"
    for folder in (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), Path(__file__).parent)
)


def import_file(name: str, file: Path) -> ModuleType:
    """Import a file as the module ``name``, which stays in ``sys.modules``.

    Raises: ImportError: no Python file. The file's code may raise anything.
    """
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look up their module by name.
    sys.modules[name] = module
    with importing_from(file.parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Append ``folder`` to the import path inside the block, as if a script there were running."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        # The user's code may have changed the path itself.
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


@contextmanager
def running_as_script(file: Path) -> Iterator[None]:
    """Inside the block, code sees an empty command line and prints to stderr; stdout is for our own output.

    The working folder, which the code may change, is restored.
    """
    arguments, folder = sys.argv, Path.cwd()
    sys.argv = [str(file)]
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.argv = arguments
        os.chdir(folder)


def reason_of(error: BaseException) -> str:
    """Why the user's code failed, and where, in one line."""
    message_lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {message_lines[0]}" if message_lines else type(error).__name__
    if isinstance(error, SystemExit):
        reason = f"it ends the program (sys.exit: {error.code})"
    place = location_of(error)
    # A syntax error's message contains the place.
    return f"{reason} ({place})" if place and place not in reason else reason


def location_of(error: BaseException) -> str:
    """The last line of the user's code before ``error``, as ``net.py, line 12``; "" if there is none."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{Path(error.filename).name}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        is_file = not frame.filename.startswith("<")
        if is_file and not str(Path(frame.filename).resolve()).startswith(_OTHER_FOLDERS):
            return f"{Path(frame.filename).name}, line {frame.lineno}"
    return ""
