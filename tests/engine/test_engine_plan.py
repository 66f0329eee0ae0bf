"""`plan` reports states, counts, and why a step would run."""

import json
import subprocess
import sys
import time

import pytest
import toy_stages

from atlas_pipeline.engine import Output, Step, plan, run


def states(bench, **config):
    """(stage, layer, grid) -> planned state of the step."""
    return {(s.stage, s.layer, s.grid): s for s in plan(bench.steps(**config), bench.store)}


def reasons(bench, **config):
    return {key: state.reason for key, state in states(bench, **config).items() if key[1] != "b"}


def test_before_the_first_run(bench):
    found = states(bench)
    assert [key[0] for key in found] == [
        "list",
        "sample",
        "project",
        "bin",
        "bin",
        "sample",
        "project",
        "bin",
        "bin",
    ]
    assert {state.state for state in found.values()} == {"missing"}
    assert {state.reason for state in found.values()} == {"never run"}
    assert found["list", None, None].fingerprint is not None
    assert found["list", None, None].tasks == 1
    # The contents of the list are not known yet, so no later step has a fingerprint.
    assert (found["sample", "a", None].fingerprint, found["sample", "a", None].tasks) == (None, None)
    assert not bench.store.root.exists()


def test_done_and_as_json(bench):
    bench.run()
    for state in plan(bench.steps(), bench.store):
        assert (state.state, state.reason, state.tasks) == ("done", None, state.tasks_done)
    one = json.loads(json.dumps([state.as_json() for state in plan(bench.steps(), bench.store)]))[1]
    assert list(one) == [
        *("stage", "layer", "view", "grid", "state", "tasks", "tasks_done", "fingerprint", "path", "reason")
    ]
    assert one["path"] == str(bench.folder("sample", "a"))
    assert (one["stage"], one["layer"], one["view"], one["tasks"]) == ("sample", "a", None, 4)


def test_a_changed_value_is_named(bench):
    bench.run()
    assert reasons(bench, dist=0.1) == {
        ("list", None, None): None,
        ("sample", "a", None): None,
        ("project", "a", None): "config changed: min_dist 0.01 -> 0.1",
        ("bin", "a", 2): "input project changed",
        ("bin", "a", 3): "input project changed",
    }


def test_compared_with_the_latest_of_the_same_labels(bench):
    bench.run()
    bench.run(bench.steps(dist=0.1))
    assert reasons(bench, dist=0.5)["project", "a", None] == "config changed: min_dist 0.1 -> 0.5"
    assert reasons(bench, grids=(4,))["bin", "a", 4] == "never run"


def test_a_new_version_is_named(bench):
    bench.run()
    assert reasons(bench, version=2)["project", "a", None] == "stage version 1 -> 2"


def test_what_waits_for_an_unknown_input_says_so(bench):
    bench.run()
    found = reasons(bench, stamp="moved", dist=0.1)
    assert found["list", None, None] == 'config changed: stamp "" -> "moved"'
    assert found["sample", "a", None] == "input list has to run first"
    assert (
        found["project", "a", None] == "config changed: min_dist 0.01 -> 0.1; input sample has to run first"
    )


def test_an_interrupted_step_is_partial(bench):
    bench.order("sample-3", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    state = states(bench)["sample", "a", None]
    assert (state.state, state.tasks, state.tasks_done, state.reason) == (
        "partial",
        4,
        3,
        "3 of 4 parts there",
    )


def test_planning_runs_nothing(bench):
    bench.run(only={"list"})
    bench.log.write_text("")
    plan(bench.steps(), bench.store)
    assert bench.ran() == []


def many_task(task, jobs, runtime):
    return [Output(table=toy_stages.pa.table({"x": list(range(10))}))]


def many_split(job):
    return [{"part": part} for part in range(30)]


def test_sixty_done_steps_are_planned_in_well_under_a_second(bench, monkeypatch):
    stage = toy_stages.stage_of("many", many_split, many_task)
    first = Step(stage=stage, config={"n": 0})
    steps = [first, *[Step(stage=stage, config={"n": n}, inputs={"first": first}) for n in range(1, 60)]]
    run(steps, bench.store)
    started = time.process_time()
    found = plan(steps, bench.store)
    assert time.process_time() - started < 0.5
    assert [state.state for state in found] == ["done"] * 60


def test_the_engine_brings_in_nothing_heavy():
    heavy = "torch dask distributed pandas sklearn umap numba rich torchvision"
    script = f"import sys, atlas_pipeline.engine; print(set('{heavy}'.split()) & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "set()"
