"""Preload module of a Dask worker: a worker that sees a GPU is on a machine that pretends to have one."""

import os
from contextlib import ExitStack
from typing import Any

from pretended_cuda import pretended_cuda

_stack = ExitStack()


def dask_setup(worker: Any) -> None:
    """Enter the pretended machine in the thread that runs the tasks."""
    if os.environ["CUDA_VISIBLE_DEVICES"]:
        worker.executors["default"].submit(_stack.enter_context, pretended_cuda()).result()
