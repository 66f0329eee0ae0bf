"""The workers that a run starts on one machine, and which of them may take a task.

Without a GPU all workers are alike. Otherwise each GPU has one worker, which takes only tasks that compute on
the device, and CPU workers take all other tasks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from atlas_pipeline.engine.hardware import num_cores, visible_gpus
from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.engine.task import Demand
from atlas_pipeline.errors import ResourceError

GPU, CPU = "GPU", "CPU"
"""Names of the workers' resources in Dask; workers that are all alike have none."""

# More CPU workers than this find no work beside a GPU; they then have several threads each.
_MOST_BESIDE_GPUS = 8
# Memory of a worker that has loaded torch and a network.
_IDLE_BYTES = 1 << 29
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker to start. resources: as Dask counts them."""

    environment: Mapping[str, str]
    resources: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """The workers of this machine.

    gpus: GPUs as CUDA_VISIBLE_DEVICES names them, one worker for each. num_cpu: number of other workers.
    cores: those of the machine. memory_bytes: memory for all tasks that run at once; None: not limited.
    """

    gpus: tuple[str, ...] = ()
    num_cpu: int
    cores: int
    memory_bytes: int | None = None

    @property
    def gpu_threads(self) -> int:
        """Threads of a GPU worker: the GPU workers share half of the cores."""
        return _own_threads() or max(1, self.cores // (2 * len(self.gpus)))

    @property
    def cpu_threads(self) -> int:
        """Threads of a CPU worker: an equal share of the cores that are left."""
        return _own_threads() or max(1, self._cpu_cores // self.num_cpu)

    @property
    def _cpu_cores(self) -> int:
        return self.cores - self.gpu_threads * len(self.gpus) if self.gpus else self.cores

    def workers(self) -> list[Worker]:
        """The workers, those with a GPU first."""
        on_gpus = [
            Worker(
                environment={**_threads(self.gpu_threads, self.gpu_threads), "CUDA_VISIBLE_DEVICES": gpu},
                resources={GPU: 1},
            )
            for gpu in self.gpus
        ]
        most = _own_threads() or max(self.cpu_threads, self._cpu_cores)
        environment = _threads(self.cpu_threads, most)
        if not self.gpus:
            return [Worker(environment=environment, resources={})] * self.num_cpu
        hidden = {**environment, "CUDA_VISIBLE_DEVICES": ""}
        return [*on_gpus, *[Worker(environment=hidden, resources={CPU: 1})] * self.num_cpu]

    def resource(self, demand: Demand) -> str:
        """The resource of the workers that may take a task; "" if all may."""
        if not self.gpus:
            return ""
        return GPU if demand.uses_device else CPU

    def num_workers(self, demand: Demand) -> int:
        """Number of workers that may take a task."""
        return len(self.gpus) if self.resource(demand) == GPU else self.num_cpu

    def runtime(self, runtime: Runtime, demand: Demand) -> Runtime:
        """The runtime of a task on the worker that takes it.

        A GPU worker decodes with its share of the cores. Other workers decode alone: together they use all
        cores already.
        """
        if self.resource(demand) == GPU:
            decoders = max(1, self.cores // len(self.gpus)) if runtime.workers is None else runtime.workers
            return replace(runtime, device="cuda", workers=decoders, threads=self.gpu_threads)
        if self.gpus:
            return replace(runtime, device="cpu", workers=0, threads=self._threads_for(demand))
        return replace(runtime, workers=runtime.workers or 0, threads=self._threads_for(demand))

    def _threads_for(self, demand: Demand) -> int:
        if _own_threads() or not demand.sharing:
            return self.cpu_threads
        return max(self.cpu_threads, self._cpu_cores // min(demand.sharing, self.num_cpu))

    def beginning(self, waiting: Sequence[Demand], running: Sequence[Demand]) -> list[int]:
        """Numbers of the waiting tasks that begin now, in order of priority, then of waiting.

        A task begins if a worker is idle and memory suffices; one that needs more than there is runs alone.
        While a task waits for memory, no other that needs memory passes it: it might never begin.
        """
        chosen, beside, waits_for_memory = list[int](), list(running), False
        for number in sorted(range(len(waiting)), key=lambda number: -waiting[number].priority):
            demand = waiting[number]
            if not self._has_idle_worker(demand, beside):
                continue
            if (waits_for_memory and demand.memory_bytes) or not self._has_memory(demand, beside):
                waits_for_memory = True
                continue
            chosen.append(number)
            beside.append(demand)
        return chosen

    def _has_idle_worker(self, demand: Demand, running: Sequence[Demand]) -> bool:
        resource = self.resource(demand)
        return sum(self.resource(other) == resource for other in running) < self.num_workers(demand)

    def _has_memory(self, demand: Demand, running: Sequence[Demand]) -> bool:
        taken = sum(other.memory_bytes for other in running)
        if self.memory_bytes is None or not taken or not demand.memory_bytes:
            return True
        idle_bytes = _IDLE_BYTES * (len(self.gpus) + self.num_cpu)
        return taken + demand.memory_bytes <= self.memory_bytes - idle_bytes


def cpu_lanes(num_workers: int, *, memory_bytes: int | None = None) -> Lanes:
    """Workers that share the cores equally."""
    return Lanes(num_cpu=num_workers, cores=num_cores(), memory_bytes=memory_bytes)


def gpu_lanes(device: str, *, most: int | None = None, memory_bytes: int | None = None) -> Lanes:
    """One worker a GPU, and CPU workers on half of the cores.

    Args:   device: ``cuda`` or ``cuda:n``. most: largest number of GPU workers.
    Raises: ResourceError: no GPU is visible.
    """
    gpus = visible_gpus()
    if ":" in device:  # a specific GPU
        number = int(device.partition(":")[2])
        gpus = gpus[number : number + 1]
    if not gpus:
        raise ResourceError(f"device {device}: no GPU is visible here; use --device cpu")
    cores = num_cores()
    num_cpu = min(max(1, cores // 2), _MOST_BESIDE_GPUS)
    return Lanes(gpus=tuple(gpus[:most]), num_cpu=num_cpu, cores=cores, memory_bytes=memory_bytes)


def _own_threads() -> int | None:
    """Threads of every process, if the user set them."""
    found = os.environ.get("OMP_NUM_THREADS", "")
    return int(found) if found.isdigit() else None


def _threads(threads: int, most: int) -> dict[str, str]:
    """Environment of a process with so many threads. most: of a task that shares all cores."""
    # Numba can lower its number of threads later, but not raise it.
    return {**dict.fromkeys(_THREADS, str(threads)), "NUMBA_NUM_THREADS": str(most)}
