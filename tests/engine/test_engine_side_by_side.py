"""Steps side by side on workers of this machine: placement, memory, order, progress, lost workers."""

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
import toy_stages
from test_engine_progress import Listener
from toy_stages import Output, Step, pa, stage_of

from atlas_pipeline.engine import Runtime, run
from atlas_pipeline.engine import lanes as lanes_module
from atlas_pipeline.engine.cluster import local_cluster
from atlas_pipeline.engine.lanes import Lanes, cpu_lanes

# Long enough for a task to meet another one that runs at the same time.
MEETING_S = 1.5


def six_tasks(job):
    return [{"start": start, "stop": start + 1} for start in range(6)]


def placed_task(task, jobs, runtime):
    """One row: where the task ran, and with what. The first task kills its worker once if told to."""
    last_words = Path(jobs[0].settings.get("last_words", "/nowhere"))
    if task["start"] == 0 and last_words.exists():
        last_words.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    row = {
        "gpu": os.environ["CUDA_VISIBLE_DEVICES"],
        "pid": os.getpid(),
        "device": runtime.device,
        "workers": runtime.workers,
        "began": time.monotonic(),
    }
    time.sleep(0.05)
    return [
        Output(table=pa.table({key: [value] for key, value in {**row, "ended": time.monotonic()}.items()}))
    ]


@pytest.fixture(scope="module")
def two_gpus():
    """Workers of a machine with four cores and two GPUs."""
    with local_cluster(Lanes(gpus=("4", "7"), num_cpu=2, cores=4)) as executor:
        yield executor


def run_both(bench, executor, **settings):
    """Run a stage that uses the device and one that does not; returns the rows of both."""
    icons = Step(
        stage=stage_of("icons", six_tasks, placed_task, uses_device=True), config={}, settings=settings
    )
    pages = Step(stage=stage_of("pages", six_tasks, placed_task), config={})
    run([icons, pages], bench.store, executor=executor, runtime=Runtime(device="cuda"))
    rows = bench.values([icons, pages])
    return rows["icons", None, None, None], rows["pages", None, None, None]


def test_tasks_for_the_device_run_on_gpu_workers_only(bench, two_gpus):
    icons, pages = run_both(bench, two_gpus)
    assert {row["gpu"] for row in icons} == {"4", "7"}
    assert {row["gpu"] for row in pages} == {""}
    assert {(row["device"], row["workers"]) for row in icons} == {("cuda", 2)}
    assert {(row["device"], row["workers"]) for row in pages} == {("cpu", 0)}
    for gpu in ("4", "7"):
        on_this = sorted((row["began"], row["ended"], row["pid"]) for row in icons if row["gpu"] == gpu)
        assert len({pid for _, _, pid in on_this}) == 1
        # Never two at once on a GPU.
        assert all(before[1] <= after[0] for before, after in pairwise(on_this))


def test_a_gpu_worker_that_dies_is_replaced_and_keeps_its_gpu(bench, two_gpus, tmp_path):
    last_words = tmp_path / "last-words"
    last_words.touch()
    icons, pages = run_both(bench, two_gpus, last_words=str(last_words))
    assert not last_words.exists()
    assert (len(icons), len(pages)) == (6, 6)
    two_gpus.client.wait_for_workers(4)
    seen = two_gpus.client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["", "", "4", "7"]


def meeting_task(task, jobs, runtime):
    """One row: whether a task of another step ran at the same time."""
    mine = Path(jobs[0].settings["folder"]) / jobs[0].config["name"]
    mine.touch()
    ends, others = time.monotonic() + MEETING_S, False
    while time.monotonic() < ends and not others:
        others = len(list(mine.parent.iterdir())) > 1
        time.sleep(0.02)
    if others:
        time.sleep(0.1)  # until the other has seen this one
    mine.unlink()
    return [Output(table=pa.table({"met": [others]}))]


@pytest.mark.parametrize(("free_bytes", "meet"), [(100, {True}), (99, {False})])
def test_tasks_begin_only_if_there_is_memory_for_them(bench, monkeypatch, tmp_path, free_bytes, meet):
    monkeypatch.setattr(lanes_module, "_IDLE_BYTES", 0)
    folder = tmp_path / "running"
    folder.mkdir()
    stage = stage_of("layout", toy_stages.one_task, meeting_task)
    steps = [Step(stage=stage, config={"name": n}, settings={"folder": str(folder)}, layer=n) for n in "ab"]
    with local_cluster(cpu_lanes(2, memory_bytes=free_bytes)) as executor:
        run(steps, bench.store, executor=executor, memory_of=lambda step: 50)
    found = {row["met"] for rows in bench.values(steps).values() for row in rows}
    assert found == meet


def logged_task(task, jobs, runtime):
    with Path(jobs[0].settings["log"]).open("a") as log:
        log.write(f"{jobs[0].config['name']}\n")
    return [Output(table=pa.table({"name": [jobs[0].config["name"]]}))]


def test_work_for_the_device_begins_first(bench):
    settings = {"log": str(bench.log)}
    page = stage_of("page", toy_stages.one_task, logged_task)
    icons = stage_of("icons", toy_stages.one_task, logged_task, uses_device=True)
    pages = [Step(stage=page, config={"name": f"page {n}"}, settings=settings) for n in range(3)]
    layout = Step(stage=page, config={"name": "layout"}, settings=settings)
    made = Step(stage=icons, config={"name": "icons"}, inputs={"a": layout}, settings=settings)
    with local_cluster(cpu_lanes(1)) as executor:
        ran = bench.run([*pages, layout, made], executor=executor)
    assert ran == ["layout", "icons", "page 0", "page 1", "page 2"]


def told_task(task, jobs, runtime):
    """Reports half of its work, then waits until the run has heard of it."""
    heard = Path(jobs[0].settings["heard"])
    ends = time.monotonic() + 60
    while not heard.exists():
        assert time.monotonic() < ends, "nobody heard of the progress"
        runtime.advance(1 if not heard.exists() else 0)
        time.sleep(0.1)
    return [Output(table=pa.table({"done": [True]}))]


class Hearing(Listener):
    """Touches a file when a bar has moved."""

    def __init__(self, heard):
        super().__init__()
        self._heard = heard

    def bar(self, label, unit, *, total, done, **_):
        bar = super().bar(label, unit, total=total, done=done)
        advance = bar.advance

        def hear(units):
            advance(units)
            if units:
                self._heard.touch()

        bar.advance = hear
        return bar


def test_the_bar_of_a_task_moves_while_it_runs(bench, tmp_path):
    heard = tmp_path / "heard"
    stage = stage_of("icons", lambda job: [{"start": 0, "stop": 1000}], told_task)
    step = Step(stage=stage, config={}, settings={"heard": str(heard)})
    hearing = Hearing(heard)
    with local_cluster(cpu_lanes(1)) as executor:
        run([step], bench.store, executor=executor, reporter=hearing)
    ((_, _, total, _, advanced, finished),) = hearing.bars
    assert (total, advanced, finished) == (1000, 1000, True)
