"""The optimiser's step as a CUDA graph: the host starts one graph in place of hundreds of operations.

A graph replays operations on fixed memory. It therefore belongs to one batch, whose tensors take in the
values of later batches of its size. A CPU has no graphs and takes plain steps.
Source: "Accelerating PyTorch with CUDA Graphs" (Nguyen et al., 2021).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from atlas_pipeline.inversion.icon_batch import TENSORS, IconBatch, Optimizer
from atlas_pipeline.models.out_of_memory import is_out_of_memory

# A graph computes every row, and each size needs a graph. Batches shrink to a half, a quarter and an eighth.
_NUM_HALVINGS = 3


class Stepper:
    """Takes an optimiser's steps, on a GPU as CUDA graphs, with one set of graphs at a time."""

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        self._optimizer, self._device = optimizer, device
        self._captures = device.type == "cuda"
        self._stream: Any = None
        self.release()

    def release(self) -> None:
        """Give up the graphs, their memory and their batch."""
        self._batch: IconBatch | None = None
        # By whether the transforms have ended: those steps differ.
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        self._is_warm = False
        self._pool: Any = None

    def held(self, batch: IconBatch) -> IconBatch:
        """The batch to step in place of ``batch``: equal, and in the memory that the graphs use."""
        if not self._captures or batch is self._batch:
            return batch
        if self._batch is None or any(
            getattr(self._batch, name).shape != getattr(batch, name).shape for name in TENSORS
        ):
            self.release()
            self._batch = batch
            return batch
        for name in TENSORS:
            getattr(self._batch, name).copy_(getattr(batch, name))
        self._batch.numbers, self._batch.seeds = batch.numbers, batch.seeds
        self._batch.steps_since_join = batch.steps_since_join
        return self._batch

    def step(self, batch: IconBatch) -> None:
        """Take one step; see `Optimizer.step`. The first step with a batch is a plain one."""
        is_still = self._optimizer.is_still(batch)
        if self._captures and self._is_warm and is_still not in self._graphs:
            self._capture(batch, is_still)
        if is_still in self._graphs:
            self._graphs[is_still].replay()
            batch.steps_since_join += 1
        elif self._captures:
            self._warm_up(batch)
        else:
            self._optimizer.step(batch)

    def _warm_up(self, batch: IconBatch) -> None:
        """Take a plain step, in which libraries make their plans and handles, and load all kernels.

        The steps without transforms are tried with one icon only: later, the graphs hold the memory that a
        plain step of the whole batch needs.
        """
        with self._side_stream():
            if not self._optimizer.is_still(batch):
                self._optimizer.update(batch.selected([0]), is_still=True)
            self._optimizer.step(batch)
        self._is_warm = True

    @contextmanager
    def _side_stream(self) -> Iterator[None]:
        """The stream that captures. Plans and handles belong to a stream, so plain steps use it too."""
        current = torch.cuda.current_stream(self._device)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def _capture(self, batch: IconBatch, is_still: bool) -> None:
        """Record a step without taking it. If the network cannot be recorded, all later steps are plain."""
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        # thread_local: other threads may use the GPU meanwhile.
        capture = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
        try:
            # The outer block restores the stream even if the end of the capture raises.
            with self._side_stream(), capture:
                self._optimizer.update(batch, is_still)
        except Exception as error:
            # A user's network may raise anything here. The end of the capture may hide a lack of memory.
            if any(is_out_of_memory(cause) for cause in _with_contexts(error)):
                raise torch.OutOfMemoryError("out of memory while a step was recorded") from error
            self._captures = False
            self.release()
            reason = (str(error) or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"icons take their steps operation by operation, which is slower: the network cannot be "
                f"recorded as a CUDA graph ({reason})",
                stacklevel=2,
            )
        else:
            self._graphs[is_still] = graph

    def kept_rows(self, done: Sequence[bool], num_waiting: int, batch_size: int) -> list[int]:
        """Rows of the batch that stay after the finished icons were stored.

        A GPU keeps finished icons as fillers, so that the batch has one of a few sizes.

        Args: done: of each row. num_waiting: icons that can join. batch_size: rows of a full batch.
        """
        active = [row for row, is_done in enumerate(done) if not is_done]
        if not self._captures:
            return active
        free = batch_size - len(active)
        size = batch_size
        for _ in range(_NUM_HALVINGS):
            if len(active) + num_waiting <= (size + 1) // 2:
                size = (size + 1) // 2
        fillers = [row for row, is_done in enumerate(done) if is_done]
        return active + fillers[: max(0, min(free, size - len(active)) - num_waiting)]


def _with_contexts(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those during whose handling it was raised."""
    while error is not None:
        yield error
        error = error.__context__
