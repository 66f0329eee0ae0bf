"""Parts are written while the next task computes; a writing error counts for the task that made the part."""

import errno
import os
import threading

import pytest
import toy_stages

from atlas_pipeline.engine import atomic_files as files
from atlas_pipeline.errors import ResourceError, TasksFailedError

SAMPLES = [f"sample {i} a,b" for i in range(4)]


@pytest.fixture
def on_opening(monkeypatch):
    """`on_opening(part, act)`: call `act` just before the part of this number is opened for writing."""
    real = files.open_temporary

    def patch(part, act):
        def opened(path):
            if f"part-{part:05d}.parquet" in path.name:
                act()
            return real(path)

        monkeypatch.setattr(files, "open_temporary", opened)

    return patch


def test_a_part_is_written_while_the_next_task_computes(bench, on_opening):
    bench.run(only={"list"})
    # This times out if the next task begins only after the part is written.
    on_opening(0, lambda: toy_stages.wait_until(lambda: SAMPLES[1] in bench.ran()))
    assert bench.run(only={"sample"}) == SAMPLES


def test_the_parts_of_siblings_are_written_at_once(bench, on_opening, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    bench.run(only={"list"})
    both = threading.Barrier(2)
    on_opening(0, lambda: both.wait(20))
    assert bench.run(only={"sample"}) == SAMPLES


def test_an_error_in_writing_one_of_two_siblings_is_of_their_task(bench, on_opening, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    bench.run(only={"list"})
    turns = iter([None])

    def fail_once():
        if next(turns, "other") is None:
            raise RuntimeError("no luck")

    on_opening(2, fail_once)
    with pytest.raises(TasksFailedError, match=r"1 of 4 tasks .* the first: task 2 .* no luck"):
        bench.run(only={"sample"})
    # The other part may be written before the error, or not begun.
    assert bench.run(only={"sample"}) in ([f"sample 2 {left}"] for left in ("a", "b", "a,b"))


def test_an_error_in_writing_is_of_its_own_task_and_the_rest_is_kept(bench, on_opening, monkeypatch):
    bench.run(only={"list"})

    def fail():
        raise RuntimeError("no luck")

    on_opening(1, fail)
    with pytest.raises(TasksFailedError, match=r"1 of 4 tasks .* the first: task 1 .* no luck"):
        bench.run(only={"sample"})
    monkeypatch.undo()
    assert bench.run(only={"sample"}) == SAMPLES[1:2]


def test_a_full_disk_stops_the_run_after_what_is_under_way(bench, on_opening):
    bench.run(only={"list"})

    def fail():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    on_opening(1, fail)
    with pytest.raises(ResourceError, match="disk is full"):
        bench.run(only={"sample"})
    # Task 2 was computed while the part of task 1 was written.
    assert bench.ran() == SAMPLES[:3]
    assert not list(bench.store.root.rglob("*.tmp"))


def test_an_interrupt_waits_for_the_part_that_is_being_written(bench, on_opening):
    bench.run(only={"list"})
    bench.order("sample-2", "interrupt")
    on_opening(1, lambda: toy_stages.wait_until(lambda: SAMPLES[2] in bench.ran()))
    with pytest.raises(KeyboardInterrupt):
        bench.run(only={"sample"})
    (bench.orders / "sample-2").unlink()
    assert bench.run(only={"sample"}) == SAMPLES[2:]
