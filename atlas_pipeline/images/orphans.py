"""A process that finds its parent gone while it starts has nothing to say. Imported by the fork server alone.

The command has ended by then, of Ctrl-C pressed twice or a kill: the server prints what a child dies of, and
that would be a traceback after the shell's prompt.
"""

from __future__ import annotations

import sys
from types import TracebackType

# Its semaphores and pipes went with it. Of a parent that lives: it says so itself, for its worker died.
_PARENT_GONE = (FileNotFoundError, EOFError, ConnectionError)


def print_unless_orphaned(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """A `sys.excepthook`."""
    if not issubclass(kind, _PARENT_GONE):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = print_unless_orphaned
