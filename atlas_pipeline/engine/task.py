"""One call of a stage's compute function: what a worker receives and returns.

The worker writes the parts; only their records and notes are sent back.
"""

from __future__ import annotations

import json
import os
import pickle
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa

from atlas_pipeline.engine.declaration import check_columns
from atlas_pipeline.engine.fingerprint import canonical_json
from atlas_pipeline.engine.hardware import num_cores
from atlas_pipeline.engine.location import Location
from atlas_pipeline.engine.part import (
    PartRecord,
    adopt_part,
    footer_notes,
    is_trusted,
    part_name,
    provenance,
    write_part,
)
from atlas_pipeline.engine.stage import Job, Notes, Output, Runtime, Stage, Task, ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The device, memory and cores that a call needs.

    uses_device: see `Stage`. memory_bytes: peak memory, 0 if too little to count. priority: calls with a
    larger number start first. sharing: steps that share all cores (see `Stage.uses_all_cores`); 0: the call
    uses the cores of its worker only.
    """

    uses_device: bool = False
    memory_bytes: int = 0
    priority: int = 0
    sharing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCall:
    """Task `index` of a group of siblings, for the jobs that lack its part.

    folders: where the parts go. others: calls for other tasks and the same jobs, computed together with it.
    """

    group: int
    index: int
    stage: Stage
    task: Task
    jobs: tuple[Job, ...]
    folders: tuple[Location, ...]
    runtime: Runtime
    demand: Demand = Demand()
    others: tuple[TaskCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a call: a record and notes for each job, or the error.

    others: the results of the call's others.
    """

    group: int
    index: int
    records: tuple[PartRecord, ...] = ()
    notes: tuple[Notes, ...] = ()
    error: Exception | None = None
    others: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A call whose parts are not written yet.

    made: provenance of each part. seconds: compute time. others: the same of the call's others.
    """

    call: TaskCall
    made: tuple[Mapping[str, str], ...]
    outputs: tuple[Output, ...]
    seconds: float
    others: tuple[Computed | Outcome, ...] = ()


def run_task(call: TaskCall, advance: Callable[[float], None] = ignore) -> Outcome:
    """Compute and write the parts of one call.

    Errors of the stage are returned, not raised: the scheduler's retries are only for lost workers.
    """
    computed = compute_task(call, advance)
    return computed if isinstance(computed, Outcome) else write_task(computed)


def compute_task(call: TaskCall, advance: Callable[[float], None] = ignore) -> Computed | Outcome:
    """First half of a call: the computed outputs, or the outcome if nothing remains to be written."""
    if call.others:
        return _compute_together(call, advance)
    try:
        computed = _existing_parts(call) or _compute(call, advance)
    except Exception as error:
        return _failed(call, error)
    # A streamed output computes while it is written, so writing it next to the following task gains nothing.
    if isinstance(computed, Computed) and any(map(_is_stream, computed.outputs)):
        return write_task(computed)
    return computed


def write_task(computed: Computed) -> Outcome:
    """Second half of a call; it may run in another thread."""
    if not computed.others:
        return _write(computed)
    with ThreadPoolExecutor(_num_writers(), thread_name_prefix="write-parts-of-call") as threads:
        outcome, *others = threads.map(_write, (computed, *computed.others))
    return replace(outcome, others=tuple(others))


def _write(computed: Computed | Outcome) -> Outcome:
    if isinstance(computed, Outcome):
        return computed
    call = computed.call
    try:
        for output in computed.outputs:
            check_columns(call.stage.name, call.stage.columns, output.table.schema)
        parts = _paths(call), computed.made, computed.outputs, [computed.seconds] * len(computed.outputs)
        num_threads = min(len(computed.outputs), _num_writers())
        if num_threads == 1 or any(map(_is_stream, computed.outputs)):
            records = list(map(_written, *parts))
        else:
            # Compression takes most of the time and releases the interpreter lock.
            with ThreadPoolExecutor(num_threads, thread_name_prefix="write-siblings") as threads:
                records = list(threads.map(_written, *parts))
        # Round-trip the notes through JSON, so that they equal those a later run reads from the footer.
        notes = tuple(json.loads(canonical_json(output.notes)) for output in computed.outputs)
    except Exception as error:
        return _failed(call, error)
    return Outcome(group=call.group, index=call.index, records=tuple(records), notes=notes)


def _written(path: Location, made: Mapping[str, str], output: Output, seconds: float) -> PartRecord:
    started = time.perf_counter()
    record = write_part(path, output.table, made, output.notes)
    streaming = time.perf_counter() - started if _is_stream(output) else 0
    return replace(record, seconds=round(seconds + streaming, 3))


def _num_writers() -> int:
    """Threads that write the parts of one call: half of the cores, since the next task computes meanwhile."""
    share = os.environ.get("OMP_NUM_THREADS", "")  # of a worker among others
    return max(1, (int(share) if share.isdecimal() else num_cores()) // 2)


def _is_stream(output: Output) -> bool:
    return isinstance(output.table, pa.RecordBatchReader)


def _existing_parts(call: TaskCall) -> Outcome | None:
    # A worker may die after it wrote its parts but before it reported them.
    paths = _paths(call)
    if not all(is_trusted(path, made) for path, made in zip(paths, _provenances(call), strict=True)):
        return None
    return Outcome(
        group=call.group,
        index=call.index,
        records=tuple(adopt_part(path) for path in paths),
        notes=tuple(footer_notes(path) for path in paths),
    )


def _compute(call: TaskCall, advance: Callable[[float], None]) -> Computed:
    started = time.perf_counter()
    outputs = call.stage.compute(call.task, call.jobs, replace(call.runtime, advance=advance))
    if len(outputs) != len(call.jobs):
        raise TypeError(f"{call.stage.name} made {len(outputs)} outputs for {len(call.jobs)} jobs")
    seconds = round(time.perf_counter() - started, 3)
    return Computed(call=call, made=_provenances(call), outputs=tuple(outputs), seconds=seconds)


def _compute_together(call: TaskCall, advance: Callable[[float], None]) -> Computed | Outcome:
    """As `compute_task`, for a call with others."""
    finished: dict[int, Outcome] = {}
    calls = [replace(call, others=()), *call.others]
    try:
        for one in calls:
            if (existing := _existing_parts(one)) is not None:
                finished[one.index] = existing
        left = [one for one in calls if one.index not in finished]
        if left:
            first, *others = _computed(left, replace(call.runtime, advance=advance))
            return replace(first, others=(*others, *finished.values()))
    except Exception as error:
        # Once: each call of `_failed` adds a note to the error, which holds the notes before it.
        failed = _failed(call, error)
        for one in calls:
            finished.setdefault(one.index, replace(failed, index=one.index))
    outcome, *outcomes = finished.values()
    return replace(outcome, others=tuple(outcomes))


def _computed(calls: Sequence[TaskCall], runtime: Runtime) -> list[Computed]:
    started = time.perf_counter()
    stage, jobs = calls[0].stage, calls[0].jobs
    assert stage.compute_together is not None
    tasks = [call.task for call in calls]
    outputs = stage.compute_together(tasks, jobs, runtime)
    if [len(of_task) for of_task in outputs] != [len(jobs)] * len(calls):
        raise TypeError(
            f"{stage.name} must make an output for each of {len(calls)} tasks and {len(jobs)} jobs"
        )
    seconds = round((time.perf_counter() - started) / len(calls), 3)
    return [
        Computed(call=call, made=_provenances(call), outputs=tuple(of_task), seconds=seconds)
        for call, of_task in zip(calls, outputs, strict=True)
    ]


def _paths(call: TaskCall) -> list[Location]:
    return [folder / part_name(call.index) for folder in call.folders]


def _provenances(call: TaskCall) -> tuple[Mapping[str, str], ...]:
    return tuple(provenance(call.stage, job, call.task) for job in call.jobs)


def _failed(call: TaskCall, error: Exception) -> Outcome:
    return Outcome(group=call.group, index=call.index, error=_picklable(error))


def _picklable(error: Exception) -> Exception:
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        substitute.add_note(error.__notes__[-1])
        return substitute
    return error
