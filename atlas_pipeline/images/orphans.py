"""Suppress the traceback of a worker process whose parent dies while it starts.

The fork server alone imports this. The command has ended by then, after a kill or a second Ctrl-C, and the
fork server would print the traceback after the shell's prompt.
"""

from __future__ import annotations

import sys
from types import TracebackType

# The parent's semaphores and pipes are gone with it. A living parent reports the death of its worker itself.
_PARENT_GONE = (FileNotFoundError, EOFError, ConnectionError)


def print_unless_orphaned(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """A `sys.excepthook` that drops errors caused by a missing parent."""
    if not issubclass(kind, _PARENT_GONE):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = print_unless_orphaned
