"""A Dask nanny that keeps its worker alive. Separate module, because it imports Dask."""

from __future__ import annotations

from distributed import Nanny, Status

from atlas_pipeline.interrupts import block_interrupts

# Number of start attempts: a worker may be killed while it starts, and Dask's own nanny then gives up.
_STARTS = 5


class SteadyNanny(Nanny):
    """A nanny whose worker ignores Ctrl-C, because the driver handles it.

    A worker that dies while it starts is started again.
    """

    async def instantiate(self) -> Status:
        # Block interrupts in the thread that starts the process: the process inherits the block from the
        # start. The block stays, because another nanny may be starting a worker on the same thread.
        block_interrupts()
        for _ in range(_STARTS):
            status = await super().instantiate()
            if status == Status.running:
                break
        return status
