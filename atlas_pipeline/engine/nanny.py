"""A nanny that keeps its worker whatever the terminal and the system do to it. Apart, for it imports Dask."""

from __future__ import annotations

import signal

from distributed import Nanny, Status

# A worker may be killed while it starts: Dask's own nanny gives up then.
_STARTS = 5


class SteadyNanny(Nanny):
    """Its worker does not hear Ctrl-C, which the terminal sends to all processes: the driver answers it.

    A worker that dies while it starts is started again.
    """

    async def instantiate(self) -> Status:
        # Blocked in the thread that starts the process, which inherits that, from its first moment on.
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        for _ in range(_STARTS):
            status = await super().instantiate()
            if status == Status.running:
                break
        return status
