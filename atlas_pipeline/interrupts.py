"""Block Ctrl-C in helper processes.

The terminal sends it to all processes, but only the process that the user started should act on it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from multiprocessing import resource_tracker

# Workers that are ended leave semaphores behind. The tracker removes them, and warns of what needs no action.
_NO_WARNING = "ignore:resource_tracker:UserWarning"


def block_interrupts() -> Iterable[int]:
    """Block Ctrl-C in this thread, and in the processes and threads that it starts from now on.

    Returns: the signals that were blocked before, for `signal.pthread_sigmask`.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return ()
    # Start the tracker first: Python starts it with the first process and unblocks signals afterwards.
    sys.warnoptions.append(_NO_WARNING)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(_NO_WARNING)
    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
