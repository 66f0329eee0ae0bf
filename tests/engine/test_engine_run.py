"""Which tasks run: reruns, resumes, siblings, early cut-off, only, force and failures."""

import pyarrow.parquet as pq
import pytest
import toy_stages

from atlas_pipeline.engine import Output, Step, artefact_of, plan, run
from atlas_pipeline.errors import AtlasError, ImagesError, MissingInputError, TasksFailedError

ALL = [
    "list 0 ",
    *[f"sample {i} a,b" for i in range(4)],
    *["project 0 a", "bin 0 a2,a3", "project 0 b", "bin 0 b2,b3"],
]


def test_a_first_run_runs_each_task_once_and_a_second_none(bench):
    assert bench.run() == ALL
    assert bench.run() == []
    assert run(bench.steps(), bench.store).tasks_run == 0


def test_equal_steps_make_one_artefact(bench):
    assert bench.run(bench.steps() + bench.steps()) == ALL


def test_a_lost_part_alone_is_made_again(bench):
    bench.run()
    before = bench.values()
    folder = bench.folder("sample", "a")
    (folder / "manifest.json").unlink()
    (folder / "part-00002.parquet").unlink()
    assert bench.run() == ["sample 2 a"]
    assert bench.values() == before


def test_parts_of_another_split_are_not_taken_over(bench):
    """A part records its task, because the split may depend on a setting that is not fingerprinted."""
    summary = {"summarise": toy_stages.sample_summary}
    resized = toy_stages.stage_of("sample", half_split, toy_stages.sample_task, **summary)
    bench.run()
    folder = bench.folder("sample", "a")
    steps = bench.steps(layers=("a",), grids=())[:2]
    steps[1] = Step(
        stage=resized, config=steps[1].config, inputs=steps[1].inputs, settings=steps[1].settings, layer="a"
    )
    assert bench.run(steps) == []  # a finished artefact stays done, whatever its split
    (folder / "manifest.json").unlink()
    assert len(bench.run(steps)) == 2
    assert sorted(file.name for file in folder.glob("part-*")) == ["part-00000.parquet", "part-00001.parquet"]
    assert artefact_of(steps[1], bench.store).num_rows == toy_stages.NUM_ROWS


def half_split(job):
    return [{"start": 0, "stop": 10}, {"start": 10, "stop": 20}]


def test_a_sibling_added_later_computes_alone(bench):
    bench.run()
    ran = bench.run(bench.steps(layers=("a", "b", "c"), grids=(2, 3, 4)))
    assert [f"sample {i} c" for i in range(4)] == [line for line in ran if line.startswith("sample")]
    assert [line for line in ran if line.startswith("bin")] == ["bin 0 a4", "bin 0 b4", "bin 0 c2,c3,c4"]


def test_siblings_lacking_different_parts_share_only_those_both_lack(bench):
    bench.run()
    for layer, lost in (("a", (0, 1)), ("b", (1, 3))):
        folder = bench.folder("sample", layer)
        (folder / "manifest.json").unlink()
        for index in lost:
            (folder / f"part-{index:05d}.parquet").unlink()
    assert bench.run() == ["sample 0 a", "sample 1 a,b", "sample 3 b"]


def test_siblings_must_split_equally(bench):
    one, other = bench.steps()[1], bench.steps(size=7)[1]
    other = Step(stage=other.stage, config=other.config, inputs=one.inputs, layer="x", shared=one.shared)
    with pytest.raises(AssertionError, match="siblings split differently"):
        run([one, other], bench.store)


def test_same_values_of_an_input_leave_the_rest_as_it_is(bench):
    bench.run()
    assert bench.run(bench.steps(stamp="moved")) == ["list 0 "]
    assert bench.run(bench.steps(seed=5)) == ALL


def test_a_change_runs_what_is_after_it(bench):
    bench.run()
    assert bench.run(bench.steps(dist=0.1)) == [line for line in ALL if line[:3] in ("pro", "bin")]


def test_only_a_stage_with_what_it_needs(bench):
    assert bench.run(only={"project"}) == [*ALL[:5], "project 0 a", "project 0 b"]
    assert bench.run(only={"bin"}) == ["bin 0 a2,a3", "bin 0 b2,b3"]
    assert bench.run(only={"bin"}) == []


def test_no_deps_names_what_is_missing_and_runs_nothing(bench):
    with pytest.raises(
        MissingInputError, match="project a all needs sample a, which is not done; run sample"
    ):
        bench.run(only={"project"}, no_deps=True)
    assert bench.ran() == []
    bench.run(only={"sample"})
    assert bench.run(only={"project"}, no_deps=True) == ["project 0 a", "project 0 b"]


def test_force_makes_a_stage_anew_and_leaves_the_rest_where_the_values_are_the_same(bench):
    bench.run()
    assert bench.run(force={"sample"}) == ALL[1:5]
    assert bench.run() == []


def test_force_with_other_values_reaches_everything_after_it(bench, monkeypatch):
    """`--force` leaves no stale atlas behind when the code changed without a version bump."""
    bench.run()
    stale = bench.values()
    monkeypatch.setattr(toy_stages, "CHANNELS", 5)
    bench.order("sample-2", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        bench.run(force={"sample"})
    (bench.orders / "sample-2").unlink()
    # A plain run continues where the forced one was interrupted.
    assert bench.run() == ALL[3:]
    assert bench.values()["bin", "a", "all", 2] is not None
    assert bench.values() != stale
    assert bench.run() == []
    monkeypatch.setattr(toy_stages, "CHANNELS", 4)
    assert bench.run(force={"sample"}) == ALL[1:]


def test_force_of_what_was_never_there_is_a_plain_run(bench):
    bench.run()
    plain = [state.fingerprint for state in plan(bench.steps(), bench.store)]
    bench.wipe()
    assert bench.run(force={"list", "sample", "project", "bin"}) == ALL
    assert [state.fingerprint for state in plan(bench.steps(), bench.store)] == plain


def test_force_only_reaches_the_stages_that_were_asked_for(bench):
    bench.run()
    assert bench.run(only={"project"}, force={"project", "sample"}) == ["project 0 a", "project 0 b"]


def test_a_stage_can_stop_the_run_by_its_notes(bench):
    with pytest.raises(ImagesError, match="2 bad images"):
        bench.run(bench.steps({"bad": 1}))
    # The second bad image stops the run once its part is written; the next task was computed meanwhile.
    assert bench.ran() == ALL[:4]
    # The parts hold the notes, so the next run is refused before it runs a task.
    with pytest.raises(ImagesError, match="3 bad images"):
        bench.run()
    assert bench.ran() == []
    assert bench.run(bench.steps({"max_bad": 3})) == ALL[4:]


def test_user_errors_of_a_task_stop_at_once(bench):
    bench.order("sample-1", "user")
    with pytest.raises(ImagesError, match="sample 1"):
        bench.run()
    assert bench.ran() == ALL[:3]


@pytest.mark.parametrize("kind", ["bug", "atlas"])
def test_other_errors_keep_the_rest_of_the_stage_and_say_how_to_retry(bench, kind):
    bench.order("sample-1", kind)
    with pytest.raises(TasksFailedError, match="1 of 4 tasks of sample failed") as caught:
        bench.run()
    assert "task 1 of sample a, b" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError if kind == "bug" else AtlasError)
    assert bench.ran() == ALL[:5]
    (bench.orders / "sample-1").unlink()
    assert bench.run() == ["sample 1 a,b", *ALL[5:]]


def test_after_a_failure_the_same_stage_goes_on_and_no_other_begins(bench):
    bench.run(only={"sample"})
    bench.order("project-0", "bug")
    with pytest.raises(TasksFailedError, match="2 of 2 tasks of project failed"):
        bench.run()
    assert bench.ran() == ["project 0 a", "project 0 b"]


def test_an_interrupt_keeps_what_is_done_and_frees_the_locks(bench):
    bench.order("sample-2", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    (bench.orders / "sample-2").unlink()
    assert bench.run() == ALL[3:]
    assert not list(bench.store.root.rglob("*.tmp"))


def test_several_parts_with_notes_need_a_summary(bench):
    noted = toy_stages.stage_of("noted", half_split, noted_task)
    with pytest.raises(TypeError, match="summarise"):
        run([Step(stage=noted, config={})], bench.store)


def noted_task(task, jobs, runtime):
    return [Output(table=toy_stages.pa.table({"x": [1]}), notes={"bad": 1})]


def test_the_manifest_and_the_footer_say_how_it_was_made(bench):
    bench.run()
    step = bench.steps()[1]
    artefact = artefact_of(step, bench.store)
    assert artefact.notes == {"rows": 20}
    assert artefact.config == {"layer": "a", "shard_size": 6}
    assert artefact.inputs["list"]["stage"] == "list"
    assert {"python", "numpy", "pyarrow", "torch"} <= set(artefact.manifest.packages)
    footer = pq.read_schema(artefact.folder / "part-00001.parquet").metadata
    assert footer[b"atlas.task"] == b'{"start":6,"stop":12}'
    assert footer[b"atlas.notes"] == b'{"bad":0,"rows":6}'
    assert footer[b"atlas.fingerprint"].decode() == artefact.fingerprint


def test_a_resumed_run_ends_with_the_same_bytes(bench):
    bench.run()
    folder = bench.folder("sample", "b")
    before = {file.name: file.read_bytes() for file in folder.glob("part-*")}
    bench.wipe()
    bench.order("sample-2", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    (bench.orders / "sample-2").unlink()
    bench.run()
    assert {file.name: file.read_bytes() for file in folder.glob("part-*")} == before
