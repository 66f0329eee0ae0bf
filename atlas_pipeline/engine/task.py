"""One call of a stage's compute function: what a worker receives and returns.

The worker writes the parts; only their records and notes are sent back.
"""

from __future__ import annotations

import json
import pickle
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from atlas_pipeline.engine.declaration import check_columns
from atlas_pipeline.engine.fingerprint import canonical_json
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
    """What a call asks of the machine that runs it.

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
    """Task `index` of a group of siblings, for the jobs that lack its part. folders: where the parts go."""

    group: int
    index: int
    stage: Stage
    task: Task
    jobs: tuple[Job, ...]
    folders: tuple[Location, ...]
    runtime: Runtime
    demand: Demand = Demand()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a call: a record and notes for each job, or the error."""

    group: int
    index: int
    records: tuple[PartRecord, ...] = ()
    notes: tuple[Notes, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A call whose parts are not written yet. made: provenance of each part; seconds: compute time."""

    call: TaskCall
    made: tuple[Mapping[str, str], ...]
    outputs: tuple[Output, ...]
    seconds: float


def run_task(call: TaskCall, advance: Callable[[int], None] = ignore) -> Outcome:
    """Compute and write the parts of one call.

    Errors of the stage are returned, not raised: the scheduler's retries are only for lost workers.
    """
    computed = compute_task(call, advance)
    return computed if isinstance(computed, Outcome) else write_task(computed)


def compute_task(call: TaskCall, advance: Callable[[int], None] = ignore) -> Computed | Outcome:
    """First half of a call: the computed outputs, or the outcome if nothing remains to be written."""
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
    call, records, notes = computed.call, [], []
    try:
        for path, made, output in zip(_paths(call), computed.made, computed.outputs, strict=True):
            started = time.perf_counter()
            check_columns(call.stage.name, call.stage.columns, output.table.schema)
            record = write_part(path, output.table, made, output.notes)
            streaming = time.perf_counter() - started if _is_stream(output) else 0
            records.append(replace(record, seconds=round(computed.seconds + streaming, 3)))
            # Round-trip the notes through JSON, so that they equal those a later run reads from the footer.
            notes.append(json.loads(canonical_json(output.notes)))
    except Exception as error:
        return _failed(call, error)
    return Outcome(group=call.group, index=call.index, records=tuple(records), notes=tuple(notes))


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


def _compute(call: TaskCall, advance: Callable[[int], None]) -> Computed:
    started = time.perf_counter()
    outputs = call.stage.compute(call.task, call.jobs, replace(call.runtime, advance=advance))
    if len(outputs) != len(call.jobs):
        raise TypeError(f"{call.stage.name} made {len(outputs)} outputs for {len(call.jobs)} jobs")
    seconds = round(time.perf_counter() - started, 3)
    return Computed(call=call, made=_provenances(call), outputs=tuple(outputs), seconds=seconds)


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
