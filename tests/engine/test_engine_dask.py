"""Toy runs on Dask: values equal to an inline run, lost workers and failures."""

import os
import signal
import threading
from contextlib import suppress

import psutil
import pytest
import toy_stages

from atlas_pipeline.engine import Runtime, run
from atlas_pipeline.engine.cluster import existing_cluster, local_cluster
from atlas_pipeline.engine.hardware import resolved_device
from atlas_pipeline.engine.lanes import cpu_lanes
from atlas_pipeline.errors import ImagesError, ResourceError, TasksFailedError


@pytest.fixture(scope="module")
def executor():
    with local_cluster(cpu_lanes(2)) as executor:
        yield executor


def test_gives_what_inline_gives(bench, executor):
    inline = bench.run()
    values = bench.values()
    bench.wipe()
    assert sorted(bench.run(executor=executor)) == sorted(inline)
    assert bench.values() == values
    assert bench.run(executor=executor) == []


def test_independent_steps_run_at_the_same_time(bench, executor):
    bench.order("project-0", "meet")
    assert len(bench.run(executor=executor)) == 9


@pytest.mark.parametrize("how", ["kill once", pytest.param("starve Dask once", marks=pytest.mark.extended)])
def test_a_lost_worker_costs_its_task_only(bench, executor, how):
    bench.run()
    values = bench.values()
    bench.wipe()
    bench.order("sample-2", how)
    ran = bench.run(executor=executor)
    assert ran.count("sample 2 a,b") == 2
    assert len(ran) == 10
    assert bench.values() == values


@pytest.mark.extended
def test_a_task_that_kills_its_workers_is_given_up_and_the_rest_is_kept(bench, executor):
    bench.order("sample-2", "kill")
    with pytest.raises(TasksFailedError, match=r"1 of 4 tasks of sample failed.*its worker died 3 times"):
        bench.run(executor=executor)
    assert bench.ran().count("sample 2 a,b") == 3
    (bench.orders / "sample-2").unlink()
    assert "sample 2 a,b" in bench.run(executor=executor)
    assert bench.run() == []


def test_workers_leave_ctrl_c_to_the_driver(bench, executor):
    """Ctrl-C reaches every process; a worker that reacted would print a traceback."""
    executor.client.wait_for_workers(2)  # an earlier test may have killed one
    before = executor.client.run(os.getpid)
    for pid in before.values():
        os.kill(pid, signal.SIGINT)
    assert len(bench.run(executor=executor)) == 9
    assert executor.client.run(os.getpid) == before


@pytest.mark.extended
def test_a_worker_that_is_killed_while_it_starts_is_started_again():
    killed = []

    def kill_the_first():
        toy_stages.wait_until(lambda: killed or _kill_a_child(killed))

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with local_cluster(cpu_lanes(1)) as executor:
        (pid,) = executor.client.run(os.getpid).values()
    killer.join()
    assert killed
    assert pid not in killed


def _kill_a_child(killed):
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
                killed.append(child.pid)
                return True
    return False


def test_failures_of_tasks_are_not_retried(bench, executor):
    bench.order("sample-1", "bug")
    with pytest.raises(TasksFailedError, match="ZeroDivisionError: sample 1") as caught:
        bench.run(executor=executor)
    assert bench.ran().count("sample 1 a,b") == 1
    # The error carries the worker's traceback, for --debug.
    assert "toy_stages.py" in "".join(caught.value.__cause__.__notes__)
    bench.order("sample-1", "user")
    with pytest.raises(ImagesError, match="sample 1"):
        bench.run(executor=executor)


def test_damage_found_by_a_worker_is_made_again(bench, executor):
    from test_engine_damage import flip

    bench.run()
    values = bench.values()
    flip(bench.folder("sample", "b") / "part-00000.parquet", keep_times=True)
    bench.store.remove("project", bench.folder("project", "b").name)
    assert sorted(bench.run(executor=executor)) == ["project 0 b", "project 0 b", "sample 0 b"]
    assert bench.values() == values


def runtime_task(task, jobs, runtime):
    found = f"{runtime.device} {runtime.workers} {runtime.batch_size}"
    return [toy_stages.Output(table=toy_stages.pa.table({"as": [found]}))]


def test_workers_decode_by_themselves_unless_told(bench, executor):
    step = toy_stages.Step(stage=toy_stages.stage_of("as", toy_stages.one_task, runtime_task), config={})
    run([step], bench.store, executor=executor, runtime=Runtime(batch_size=7, device="auto"))
    # The worker resolves device 'auto' on its own machine.
    assert bench.values([step]) == {("as", None, None, None): [{"as": f"{resolved_device('auto')} 0 7"}]}


def test_workers_keep_the_memory_that_they_freed(executor):
    """Dask's default trim threshold makes a network that reallocates at every step three times as slow."""
    assert set(executor.client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_").values()) == {None}


def test_nobody_at_the_address(bench, monkeypatch):
    monkeypatch.setattr("atlas_pipeline.engine.cluster.CONNECT_S", 0.5)
    with existing_cluster("tcp://127.0.0.1:9") as executor:
        with pytest.raises(ResourceError, match="no Dask scheduler answers at tcp:"):
            bench.run(executor=executor)
        bench.run()
        assert bench.run(executor=executor) == []  # nothing to do, so no scheduler is needed


@pytest.mark.extended
def test_an_existing_scheduler(bench, executor):
    address = executor.client.scheduler.address
    with existing_cluster(address) as other:
        assert len(bench.run(executor=other)) == 9
