"""The first line of a command in a terminal: torch takes seconds to import, and is told of before."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

import click

from atlas_pipeline.cli.options import QUIET

LOADING = "loading torch ..."


class _TorchWatch:
    """An import finder that finds no module, and prints a line when torch is first asked for."""

    def __init__(self) -> None:
        self._was_asked = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torch" and not self._was_asked:
            # The finder stays in the list: if it left now, Python would pass over the one behind it.
            self._was_asked = True
            # Workers and threads have no context of a command: their user sees the command's own lines.
            context = click.get_current_context(silent=True)
            if context is not None and not context.meta.get(QUIET) and sys.stderr.isatty():
                click.echo(LOADING, err=True)
        return None


@contextmanager
def told_before_torch() -> Iterator[None]:
    """In a terminal, print `LOADING` on stderr before torch is imported for the first time.

    A command that needs no torch prints nothing, nor does one that is told to be quiet.
    """
    if "torch" in sys.modules:
        yield
        return
    watch = _TorchWatch()
    sys.meta_path.insert(0, watch)
    try:
        yield
    finally:
        sys.meta_path.remove(watch)
