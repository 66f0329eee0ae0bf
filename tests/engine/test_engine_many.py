"""Hundreds of steps share one pass and one line at the terminal."""

import resource

import pyarrow as pa
import pytest
import toy_stages

from atlas_pipeline.engine import Output, Stage, Step, Store, describe, run


def test_of_many_labels_the_first_few_are_named():
    stage = toy_stages.stage_of("bin", toy_stages.one_task, toy_stages.list_task)
    steps = [Step(stage=stage, config={}, layer="a", view=f"class-{i}", grid=8) for i in range(1000)]
    assert describe(*steps[:4]) == "bin a class-0, class-1, class-2, class-3 8"
    assert describe(*steps) == "bin a class-0, class-1, class-2, and 997 more 8"


@pytest.fixture
def few_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.extended
def test_a_pass_shared_by_more_steps_than_files_may_be_open_by_default(tmp_path, few_files):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1024:
        pytest.skip("the system allows no more open files")
    stage = Stage(
        name="many",
        version=1,
        unit="rows",
        split=toy_stages.one_task,
        size=lambda task: 1,
        compute=lambda task, jobs, runtime: [Output(table=pa.table({"x": [1]})) for _ in jobs],
    )
    steps = [Step(stage=stage, config={"which": i}, shared="all") for i in range(400)]
    assert run(steps, Store(tmp_path)).tasks_run == 1
    assert run(steps, Store(tmp_path)).tasks_run == 0
