"""A nanny whose worker does not hear Ctrl-C: the terminal interrupts all processes, and the driver answers.

Apart, for it imports Dask.
"""

from __future__ import annotations

import signal

from distributed import Nanny, Status


class DeafNanny(Nanny):
    """Starts its worker, and starts it again, with SIGINT blocked; the driver ends it in good order."""

    async def instantiate(self) -> Status:
        # Blocked in the thread that starts the process, which inherits that, from its first moment on.
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        return await super().instantiate()
