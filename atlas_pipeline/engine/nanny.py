"""A nanny that keeps its worker whatever the terminal and the system do to it. Apart, for it imports Dask."""

from __future__ import annotations

from distributed import Nanny, Status

from atlas_pipeline.interrupts import block_interrupts

# A worker may be killed while it starts: Dask's own nanny gives up then.
_STARTS = 5


class SteadyNanny(Nanny):
    """Its worker does not hear Ctrl-C: the driver answers it.

    A worker that dies while it starts is started again.
    """

    async def instantiate(self) -> Status:
        # In the thread that starts the process, which inherits that, from its first moment on. For good:
        # another nanny may start one on the same thread meanwhile.
        block_interrupts()
        for _ in range(_STARTS):
            status = await super().instantiate()
            if status == Status.running:
                break
        return status
