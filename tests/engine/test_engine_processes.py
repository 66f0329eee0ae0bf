"""Runs as processes: killed, interrupted, two at once."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("run_toy.py")


def start(bench, slow_s=0.0, workers=0):
    arguments = [bench.store.root.parent, bench.log, bench.orders, slow_s, workers]
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(bench, line, timeout_s=60):
    """Until the task has begun."""
    ends = time.monotonic() + timeout_s
    while line not in (bench.ran() if bench.log.exists() else []):
        assert time.monotonic() < ends, f"{line} did not begin"
        time.sleep(0.02)


@pytest.fixture
def undisturbed(bench):
    """What every artefact holds where nothing went wrong."""
    bench.run()
    values = bench.values()
    bench.wipe()
    bench.log.unlink()
    return values


@pytest.mark.parametrize("line", ["sample 2 a,b", "project 0 a", "bin 0 b2,b3"])
def test_killed_in_the_middle_the_next_run_does_the_rest(bench, undisturbed, line):
    process = start(bench, slow_s=0.15)
    wait_for(bench, line)
    process.kill()
    process.wait()
    before = bench.ran()
    rest = bench.run()
    assert rest[0] == line  # the one that was cut off, and none of those before it
    assert sorted([*before[:-1], *rest]) == sorted({*before, *rest})
    assert bench.values() == undisturbed


def test_killed_by_itself_while_it_computes(bench, undisturbed):
    bench.order("sample-1", "kill once")
    process = start(bench)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert bench.run()[0] == "sample 1 a,b"
    assert bench.values() == undisturbed


def test_interrupted_by_the_terminal(bench, undisturbed):
    process = start(bench, slow_s=0.3)
    wait_for(bench, "sample 1 a,b")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert bench.run()[0] == "sample 1 a,b"
    assert bench.values() == undisturbed


def test_of_two_runs_at_once_the_second_waits_says_so_and_runs_nothing(bench, undisturbed):
    first = start(bench, slow_s=0.4)
    wait_for(bench, "sample 0 a,b")
    second = start(bench)
    first_out, _ = first.communicate(timeout=60)
    second_out, said = second.communicate(timeout=60)
    assert (first_out.strip(), second_out.strip()) == ("9", "0")
    assert said.count("sample a, b: another run is making it; waiting for that to end") == 1
    assert bench.values() == undisturbed


def test_a_killed_run_holds_no_lock(bench):
    process = start(bench, slow_s=5)
    wait_for(bench, "list 0 ")
    process.kill()
    process.wait()
    started = time.monotonic()
    bench.run()
    assert time.monotonic() - started < 4
