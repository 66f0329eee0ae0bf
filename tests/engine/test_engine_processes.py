"""Runs in their own processes: killed, interrupted, and two at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_stages

TIMEOUT_S = 120
SCRIPT = Path(__file__).with_name("run_toy.py")


def start(bench, num_workers=0):
    arguments = [bench.store.root.parent, bench.log, bench.orders, num_workers]
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(bench, line):
    """Wait until the log holds this line: the task has begun."""
    toy_stages.wait_until(lambda: bench.log.exists() and line in bench.ran())


@pytest.fixture
def undisturbed(bench):
    """The rows of every artefact after a run without faults."""
    bench.run()
    values = bench.values()
    bench.wipe()
    bench.log.unlink()
    return values


@pytest.mark.parametrize(
    "task", ["sample-2", *(pytest.param(task, marks=pytest.mark.extended) for task in ("project-0", "bin-0"))]
)
def test_killed_in_the_middle_the_next_run_does_the_rest(bench, undisturbed, task):
    bench.order(task, "hold")
    process = start(bench)
    cut_off = {"sample-2": "sample 2 a,b", "project-0": "project 0 a", "bin-0": "bin 0 a2,a3"}[task]
    wait_for(bench, cut_off)
    if task == "sample-2":  # wait until the previous task's parts are written
        toy_stages.wait_until(lambda: len(list(bench.store.root.glob("sample/*/part-00001.parquet"))) == 2)
    process.kill()
    process.wait()
    (bench.orders / task).unlink()
    before = bench.ran()
    rest = bench.run()
    assert rest[0] == cut_off == before[-1]
    assert len(before[:-1] + rest) == 9  # only the killed task ran twice
    assert bench.values() == undisturbed


@pytest.mark.extended
def test_killed_by_itself_while_it_computes(bench, undisturbed):
    bench.order("sample-1", "kill once")
    process = start(bench)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL
    # The part that was being written at the same time may be lost too.
    assert bench.run()[0] in ("sample 0 a,b", "sample 0 a", "sample 0 b", "sample 1 a,b")
    assert bench.values() == undisturbed


@pytest.mark.extended
@pytest.mark.parametrize("num_workers", [0, 1])
def test_interrupted_by_the_terminal(bench, undisturbed, num_workers):
    """Ctrl-C at a terminal interrupts every process of the group, including workers."""
    bench.order("sample-1", "hold")
    process = start(bench, num_workers)
    wait_for(bench, "sample 1 a,b")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    (bench.orders / "sample-1").unlink()
    assert "sample 1 a,b" in bench.run()
    assert bench.values() == undisturbed


@pytest.mark.extended
def test_workers_go_with_their_killed_driver(bench):
    bench.order("sample-1", "hold")
    process = start(bench, num_workers=1)
    wait_for(bench, "sample 1 a,b")
    process.kill()
    process.communicate(timeout=TIMEOUT_S)  # returns once no process holds the pipes


def test_the_second_of_two_runs_waits_and_runs_nothing(bench, undisturbed):
    bench.order("bin-0-b2,b3", "hold")
    first = start(bench)
    wait_for(bench, "bin 0 b2,b3")
    second = start(bench)
    said = second.stderr.readline()
    assert said == "bin b all 2, 3: another run is making it; waiting for that to end\n"
    time.sleep(1.2)  # it checks twice more and must not repeat the message
    (bench.orders / "bin-0-b2,b3").unlink()
    first_out, _ = first.communicate(timeout=TIMEOUT_S)
    second_out, said = second.communicate(timeout=TIMEOUT_S)
    assert (int(first_out), int(second_out)) == (9, 0)
    assert said == ""
    assert bench.values() == undisturbed


@pytest.mark.extended
def test_two_runs_from_the_start_run_each_task_once(bench, undisturbed):
    runs = [start(bench) for _ in range(2)]
    counts = [int(run.communicate(timeout=TIMEOUT_S)[0]) for run in runs]
    assert sum(counts) == 9
    assert len(bench.ran()) == len(set(bench.ran())) == 9
    assert bench.values() == undisturbed


def test_a_killed_run_holds_no_lock(bench):
    bench.order("list-0", "hold")
    process = start(bench)
    wait_for(bench, "list 0 ")
    process.kill()
    process.wait()
    (bench.orders / "list-0").unlink()
    bench.run()  # a lock that is still held would block this for ever
