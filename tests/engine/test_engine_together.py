"""On a GPU a call computes several tasks; parts, resuming and failures stay those of single tasks."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import toy_stages
from test_engine_workers import own_scheduler

from atlas_pipeline.engine import Output, Runtime, Stage, Step, artefact_of, task
from atlas_pipeline.engine.cluster import existing_cluster
from atlas_pipeline.engine.executor import InlineExecutor
from atlas_pipeline.engine.task import Outcome, run_task
from atlas_pipeline.errors import ImagesError, TasksFailedError

CPU, GPU = Runtime(device="cpu"), Runtime(device="cuda")
STARTS = range(0, 50, 5)


def split(job):
    return [{"start": start, "stop": start + 5} for start in STARTS]


def output_of(rows):
    return Output(table=pa.table({"row": range(rows["start"], rows["stop"])}), notes={"from": rows["start"]})


def compute(rows, jobs, runtime):
    toy_stages.begin("many", rows["start"] // 5, jobs, runtime)
    return [output_of(rows) for _ in jobs]


def compute_together(tasks, jobs, runtime):
    numbers = "+".join(str(rows["start"] // 5) for rows in tasks)
    toy_stages.begin("many", numbers, jobs, runtime)
    runtime.advance(7)
    return [[output_of(rows) for _ in jobs] for rows in tasks]


MANY = Stage(
    name="many",
    version=1,
    unit="rows",
    size=toy_stages.size_of,
    split=split,
    compute=compute,
    compute_together=compute_together,
    most_together=4,
    uses_device=True,
    summarise=lambda job, notes: {"from": [note["from"] for note in notes]},
)
ALL = ["many 0+1+2 ", "many 3+4+5 ", "many 6+7+8+9 "]


@pytest.fixture
def many(bench):
    """`many(**settings)`: the one step of a pipeline."""

    def step(stage=MANY, **more):
        settings = {"log": str(bench.log), "orders": str(bench.orders)}
        return Step(stage=stage, config={"seed": 0}, settings=settings, **more)

    return step


def test_a_gpu_gets_several_tasks_a_call_and_a_cpu_one(bench, many):
    assert bench.run([many()], runtime=GPU) == ALL
    together = artefact_of(many(), bench.store)
    parts = {part.name: part.digest for part in together.manifest.parts}
    bench.wipe()
    assert bench.run([many()], runtime=CPU) == [f"many {number} " for number in range(10)]
    alone = artefact_of(many(), bench.store)
    assert {part.name: part.digest for part in alone.manifest.parts} == parts
    assert alone.notes == together.notes == {"from": list(STARTS)}
    assert alone.read()["row"].to_pylist() == list(range(50))


@pytest.mark.extended
@pytest.mark.parametrize("gpu", ["0", ""], ids=["gpu", "cpu"])
def test_a_worker_of_a_scheduler_gets_what_its_device_asks_for(bench, many, tmp_path, gpu):
    tests = Path(toy_stages.__file__).parents[1]
    environment = {
        "PYTHONPATH": os.pathsep.join(str(tests / folder) for folder in ("engine", "gpu")),
        "CUDA_VISIBLE_DEVICES": gpu,
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "['pretended_worker']",
    }
    with own_scheduler(tmp_path, **environment) as (address, _), existing_cluster(address) as executor:
        ran = bench.run([many()], executor=executor, runtime=Runtime(device="auto"))
    assert ran == (ALL if gpu else [f"many {number} " for number in range(10)])


def test_a_run_begun_on_a_cpu_goes_on_on_a_gpu(bench, many):
    for number in (0, 2, 3, 9):
        bench.order(f"many-{number}", "bug")
    with pytest.raises(TasksFailedError, match="4 of 10 tasks"):
        bench.run([many()], runtime=CPU)
    assert bench.run([many()], runtime=GPU) == ["many 0+2+3+9 "]
    assert artefact_of(many(), bench.store).read()["row"].to_pylist() == list(range(50))


def test_a_run_begun_on_a_gpu_goes_on_on_a_cpu(bench, many):
    bench.order("many-3+4+5", "bug")
    with pytest.raises(TasksFailedError, match=r"3 of 10 tasks .*task 3 of many: ZeroDivisionError") as error:
        bench.run([many()], runtime=GPU)
    assert len(error.value.__cause__.__notes__) == 1  # a note a task would double the text each time
    (bench.orders / "many-3+4+5").unlink()
    assert bench.run([many()], runtime=CPU) == ["many 3 ", "many 4 ", "many 5 "]


def test_an_error_of_the_user_stops_the_run_with_its_type(bench, many):
    bench.order("many-3+4+5", "user")
    with pytest.raises(ImagesError):
        bench.run([many()], runtime=GPU)
    (bench.orders / "many-3+4+5").unlink()
    assert bench.run([many()], runtime=GPU) == ["many 3+4+5 ", "many 6+7+8+9 "]


class Workers(InlineExecutor):
    """An executor that says how many GPUs it has, and does `on_call` before each call."""

    def __init__(self, num=1, on_call=lambda call: None):
        super().__init__()
        self.num, self.on_call, self.calls = num, on_call, []

    def num_gpus(self, device):
        return self.num

    def submit(self, call, advance):
        self.calls.append([call.index, *(other.index for other in call.others)])
        self.on_call(call)
        super().submit(call, advance)


@pytest.mark.parametrize(("num", "sizes"), [(1, [3, 3, 4]), (2, [3, 3, 4]), (5, [2] * 5), (40, [1] * 10)])
def test_every_worker_gets_its_share(bench, many, num, sizes):
    workers = Workers(num)
    bench.run([many()], runtime=GPU, executor=workers)
    assert [len(call) for call in workers.calls] == sizes
    assert [index for call in workers.calls for index in call] == list(range(10))


def test_a_worker_that_wrote_parts_before_it_died_computes_only_the_rest(bench, many):
    def write_one(call):
        if call.index == 3:
            assert run_task(call.others[1]).error is None

    assert bench.run([many()], runtime=GPU, executor=Workers(1, write_one)) == [
        "many 5 ",
        "many 0+1+2 ",
        "many 3+4 ",
        "many 6+7+8+9 ",
    ]
    assert artefact_of(many(), bench.store).read()["row"].to_pylist() == list(range(50))


def test_an_error_leaves_the_parts_that_a_worker_wrote_before_it_died(bench, many):
    def write_one(call):
        if call.index == 3:
            assert run_task(call.others[1]).error is None
            bench.order("many-3+4", "bug")

    with pytest.raises(TasksFailedError, match="2 of 10 tasks"):
        bench.run([many()], runtime=GPU, executor=Workers(1, write_one))


def test_a_worker_that_wrote_every_part_computes_nothing(bench, many):
    def write_all(call):
        if call.index == 0:
            assert len(run_task(call).others) == 2

    assert bench.run([many()], runtime=GPU, executor=Workers(1, write_all)) == ALL


def test_a_lost_call_fails_all_of_its_tasks(bench, many):
    class Losing(Workers):
        def wait(self, timeout_s):
            found = super().wait(timeout_s)
            return [
                replace(one, records=(), notes=(), error=RuntimeError("its worker died"), others=())
                if one.index == 3
                else one
                for one in found
            ]

    with pytest.raises(TasksFailedError, match=r"3 of 10 tasks .*its worker died"):
        bench.run([many()], runtime=GPU, executor=Losing())


def test_a_part_that_cannot_be_written_fails_its_own_task(bench, many, monkeypatch):
    real = task.write_part

    def write(path, *arguments):
        if path.name == "part-00004.parquet":
            raise RuntimeError("no luck")
        return real(path, *arguments)

    monkeypatch.setattr(task, "write_part", write)
    with pytest.raises(TasksFailedError, match=r"1 of 10 tasks .*task 4 of many: RuntimeError: no luck"):
        bench.run([many()], runtime=GPU)
    monkeypatch.undo()
    assert bench.run([many()], runtime=GPU) == ["many 4 "]


def test_a_stage_that_makes_too_few_outputs_is_refused(bench, many):
    def one_short(tasks, jobs, runtime):
        return compute_together(tasks, jobs, runtime)[1:]

    with pytest.raises(
        TasksFailedError, match=r"10 of 10 tasks .*must make an output for each of 3 tasks and 1 jobs"
    ):
        bench.run([many(stage=replace(MANY, compute_together=one_short))], runtime=GPU)


def test_siblings_that_lack_other_parts_are_computed_apart(bench, many):
    steps = [many(layer=layer, shared="layers") for layer in "ab"]
    steps = [replace(step, config={"layer": step.layer}) for step in steps]
    bench.run(steps, runtime=GPU)
    folders = {layer: bench.folder("many", layer, steps) for layer in "ab"}
    for layer, number in (("b", 1), ("b", 2), ("a", 2), ("a", 3)):
        (folders[layer] / f"part-{number:05d}.parquet").unlink()
    assert bench.run(steps, runtime=GPU) == ["many 1 b", "many 2 a,b", "many 3 a"]


class Reported:
    """A reporter whose bars count their units."""

    def __init__(self):
        self.units, self.total = [], 0

    def bar(self, label, unit, *, total, done, **_):
        self.total = total
        return self

    def advance(self, units):
        self.units.append(units)

    def close(self, finished):
        pass

    def say(self, text):
        pass


def test_progress_of_a_call_fills_its_tasks_in_order(bench, many):
    reported = Reported()
    bench.run([many()], runtime=GPU, reporter=reported)
    assert sum(reported.units) == reported.total == 50
    assert [units for units in reported.units if units][:2] == [5, 2]


def test_an_outcome_names_every_task_of_its_call(bench, many):
    outcomes = []

    class Kept(Workers):
        def wait(self, timeout_s):
            outcomes.extend(super().wait(timeout_s))
            return outcomes[-1:]

    bench.run([many()], runtime=GPU, executor=Kept())
    assert all(isinstance(one, Outcome) for one in outcomes)
    assert [[one.index, *(other.index for other in one.others)] for one in outcomes] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8, 9],
    ]
