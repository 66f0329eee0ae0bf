"""The terminal sends Ctrl-C to all processes; it is for the one that a user started."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from multiprocessing import resource_tracker


def block_interrupts() -> Iterable[int]:
    """Keep Ctrl-C from this thread, and from processes and threads that it starts from now on.

    Returns: the signals that were blocked before, for `signal.pthread_sigmask`.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return ()
    # Python starts it with the first process, and then lets signals through again: before that one starts.
    resource_tracker.ensure_running()
    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
