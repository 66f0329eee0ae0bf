"""Preload module of a Dask worker: a worker that sees a GPU is on a machine that pretends to have one.

With PRETENDED_WORKER_NOTES, a folder, the worker notes there at its end what it did with its GPU.
"""

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pretended_cuda import pretended_cuda

_stack = ExitStack()


def dask_setup(worker: Any) -> None:
    """Enter the pretended machine in the thread that runs the tasks."""
    if os.environ["CUDA_VISIBLE_DEVICES"]:
        worker.pretended_log = (
            worker.executors["default"].submit(_stack.enter_context, pretended_cuda()).result()
        )


def dask_teardown(worker: Any) -> None:
    """Write the notes."""
    folder, log = os.environ.get("PRETENDED_WORKER_NOTES"), getattr(worker, "pretended_log", None)
    if folder and log:
        notes = {"sees": os.environ["CUDA_VISIBLE_DEVICES"], "contexts": sorted(log.touched)}
        notes["launches"] = log.num_launches
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps(notes))
