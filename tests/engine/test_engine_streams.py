"""A part too large for memory is computed while it is written."""

import threading

import pyarrow as pa
import pytest
import toy_stages

from atlas_pipeline.engine import Output, Step, artefact_of, run
from atlas_pipeline.errors import ImagesError, TasksFailedError

SCHEMA = pa.schema([("file", pa.string()), ("content", pa.large_binary())])
SIZES = (3, 1, 5)


def stream(task, jobs, runtime):
    def batches():
        for number, size in enumerate(SIZES):
            if number == jobs[0].settings.get("fails_at"):
                raise jobs[0].settings["with"]
            jobs[0].settings.get("threads", []).append(threading.current_thread())
            yield pa.record_batch([[f"file {number}"] * size, [bytes([number])] * size], schema=SCHEMA)

    return [Output(table=pa.RecordBatchReader.from_batches(SCHEMA, batches()), notes={"said": 1})]


def whole(task, jobs, runtime):
    (output,) = stream(task, jobs, runtime)
    return [Output(table=output.table.read_all(), notes=output.notes)]


def step_of(compute, **settings):
    return Step(
        stage=toy_stages.stage_of("stream", toy_stages.one_task, compute), config={}, settings=settings
    )


def test_it_is_the_artefact_that_a_table_makes(bench, tmp_path):
    streamed, held = step_of(stream), step_of(whole)
    run([streamed], bench.store)
    other = type(bench.store)(tmp_path / "other")
    run([held], other)
    made, wanted = artefact_of(streamed, bench.store), artefact_of(held, other)
    assert made.read().equals(wanted.read())
    assert (made.num_rows, made.notes, made.schema) == (sum(SIZES), {"said": 1}, wanted.schema)
    assert made.manifest.parts[0].schema == wanted.manifest.parts[0].schema
    assert bench.store.damaged(made.manifest, thorough=True) == []


def test_it_is_read_in_the_batches_it_was_written_in(bench):
    step = step_of(stream)
    run([step], bench.store)
    batches = list(artefact_of(step, bench.store).batches(["content"]))
    assert [batch.num_rows for batch in batches] == list(SIZES)
    assert batches[2].column_names == ["content"]
    assert pa.concat_tables(batches).equals(artefact_of(step, bench.store).read(["content"]))


def test_a_later_run_finds_it_done_and_takes_a_part_without_manifest_over(bench):
    step = step_of(stream)
    assert run([step], bench.store).tasks_run == 1
    assert run([step], bench.store).tasks_run == 0
    (manifest,) = bench.store.root.rglob("manifest.json")
    manifest.unlink()
    assert run([step], bench.store).tasks_run == 0
    assert artefact_of(step, bench.store).num_rows == sum(SIZES)


def test_it_computes_where_tasks_compute_and_not_where_parts_are_written(bench):
    threads = []
    run([step_of(stream, threads=threads)], bench.store)
    assert set(threads) == {threading.main_thread()}


@pytest.mark.parametrize("number", [0, 2])
def test_an_error_on_the_way_is_the_tasks_and_leaves_nothing(bench, number):
    with pytest.raises(TasksFailedError, match="no luck"):
        run([step_of(stream, fails_at=number, **{"with": RuntimeError("no luck")})], bench.store)
    with pytest.raises(ImagesError, match="the user's own fault"):
        run([step_of(stream, fails_at=number, **{"with": ImagesError("the user's own fault")})], bench.store)
    with pytest.raises(KeyboardInterrupt):
        run([step_of(stream, fails_at=number, **{"with": KeyboardInterrupt()})], bench.store)
    assert not [path for path in bench.store.root.rglob("*") if path.name.startswith((".part", "part"))]
    assert run([step_of(stream)], bench.store).tasks_run == 1
