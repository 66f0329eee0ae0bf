"""A run begins in its own process, and starts workers only if it proves long."""

import pytest
import toy_stages
from toy_stages import Step, stage_of

from atlas_pipeline.engine import InlineExecutor, Runtime, run
from atlas_pipeline.engine.growing_executor import GrowingExecutor
from atlas_pipeline.errors import ResourceError


class Workers(InlineExecutor):
    """Workers that are this process too; counts how often they start, and the calls that they get."""

    concurrent = True

    def __init__(self, fails=False):
        super().__init__()
        self.fails = fails
        self.num_starts, self.calls = 0, []

    @property
    def client(self):
        self.num_starts += 1
        if self.fails:
            raise ResourceError("no memory")

    def submit(self, call, advance):
        self.calls.append(f"{call.stage.name} {call.index}")
        super().submit(call, advance)


def test_a_short_run_starts_no_workers(bench):
    workers = Workers()
    assert len(bench.run(executor=GrowingExecutor(InlineExecutor(), workers, after_s=1000))) == 9
    assert (workers.num_starts, workers.calls) == (0, [])
    assert bench.run(executor=GrowingExecutor(InlineExecutor(), workers, after_s=0)) == []
    assert workers.num_starts == 0


def test_a_long_run_moves_to_workers_and_gives_the_same(bench):
    bench.run()
    values = bench.values()
    bench.wipe()
    workers = Workers()
    assert len(bench.run(executor=GrowingExecutor(InlineExecutor(), workers, after_s=0))) == 9
    # The list is the only task while it runs; the tasks of sample wait for each other.
    assert workers.num_starts == 1
    assert workers.calls[:4] == ["sample 0", "sample 1", "sample 2", "sample 3"]
    assert len(workers.calls) == 8
    assert bench.values() == values


def test_one_task_alone_starts_no_workers(bench):
    workers = Workers()
    steps = bench.steps(layers=("a",), grids=(2,), size=100)
    assert len(bench.run(steps, executor=GrowingExecutor(InlineExecutor(), workers, after_s=0))) == 4
    assert workers.num_starts == 0


def test_steps_that_are_ready_together_start_workers(bench):
    workers = Workers()
    steps = bench.steps(size=100)
    assert len(bench.run(steps, executor=GrowingExecutor(InlineExecutor(), workers, after_s=0))) == 6
    assert workers.calls[:2] == ["project 0", "project 0"]


def test_a_run_whose_workers_do_not_start_goes_on_alone(bench):
    workers = Workers(fails=True)
    assert len(bench.run(executor=GrowingExecutor(InlineExecutor(), workers, after_s=0))) == 9
    assert (workers.num_starts, workers.calls) == (1, [])


def test_a_failed_run_drops_the_calls_of_both(bench):
    bench.order("sample-1", "user")
    executor = GrowingExecutor(InlineExecutor(), Workers(), after_s=0)
    with pytest.raises(toy_stages.ImagesError, match="sample 1"):
        bench.run(executor=executor)
    (bench.orders / "sample-1").unlink()
    assert "sample 1 a,b" in bench.run(executor=executor)


def decoding_task(task, jobs, runtime):
    return [toy_stages.Output(table=toy_stages.pa.table({"workers": [runtime.workers]}))]


@pytest.mark.parametrize(("told", "used"), [(None, 3), (0, 0), (2, 2)])
def test_this_process_decodes_with_all_cores_unless_told(bench, told, used):
    step = Step(stage=stage_of("decode", toy_stages.one_task, decoding_task), config={})
    run([step], bench.store, executor=InlineExecutor(decoders=3), runtime=Runtime(workers=told))
    assert bench.values([step]) == {("decode", None, None, None): [{"workers": used}]}
