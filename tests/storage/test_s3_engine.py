"""Toy runs in a workspace on an S3 server: equal values, resumed, repaired and shared by workers."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import run_toy
from s3fs.core import S3File
from toy_bench import Bench

from atlas_pipeline.engine import Store, artefact_of, plan, reach_of, reachable, remove, unreachable
from atlas_pipeline.engine.cluster import local_cluster
from atlas_pipeline.engine.lanes import cpu_lanes
from atlas_pipeline.engine.lock import try_locks
from atlas_pipeline.engine.part import write_part
from atlas_pipeline.errors import ResourceError


@pytest.fixture
def far(tmp_path, bucket):
    """Toy runs in a bucket."""
    return Bench(tmp_path, bucket)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    near = Bench(tmp_path_factory.mktemp("near"))
    near.run()
    return near.values()


def objects(far):
    workspace = far.store.root.parent
    return sorted(name.removeprefix(workspace.path) for name in workspace.fs.find(workspace.path))


def test_gives_what_a_folder_gives_and_leaves_nothing_else(far, undisturbed):
    assert len(far.run()) == 9
    assert far.values() == undisturbed
    assert far.run() == []
    states = plan(far.steps(), far.store)
    assert {state.state for state in states} == {"done"}
    expected = [f"{state.path}/manifest.json" for state in states]
    expected += [f"{state.path}/part-{i:05d}.parquet" for state in states for i in range(state.tasks)]
    assert [f"{far.store.root.parent}{name}" for name in objects(far)] == sorted(expected)


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.rindex(b"\x28\xb5\x2f\xfd") + 32] ^= 0xFF
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("how", [cut, flip, lambda path: path.unlink()])
def test_a_damaged_object_is_made_again_alone(far, undisturbed, how):
    far.run()
    how(far.folder("sample", "a") / "part-00003.parquet")
    # Remove an artefact that reads it: a byte flipped within the same second shows only on reading.
    far.store.remove("project", far.folder("project", "a").name)
    assert set(far.run()) == {"sample 3 a", "project 0 a"}
    assert far.values() == undisturbed
    assert far.run() == []


def test_a_lost_manifest_is_written_again_from_the_parts(far, undisturbed):
    far.run()
    (far.folder("sample", "a") / "manifest.json").unlink()
    assert far.run() == []
    assert far.values() == undisturbed


def test_a_killed_run_is_resumed(far, undisturbed):
    far.order("sample-2", "kill once")
    arguments = [str(far.store.root.parent), str(far.log), str(far.orders), "0"]
    killed = subprocess.run([sys.executable, Path(run_toy.__file__), *arguments], stderr=subprocess.DEVNULL)
    assert killed.returncode == -9
    done = far.ran()
    assert done[-1] == "sample 2 a,b"
    ran = far.run()
    # Finished parts are kept. Sample 1 may run again, since it was being written at the kill.
    assert not {"list 0 ", "sample 0 a,b"} & set(ran)
    assert {"sample 2 a,b", "sample 3 a,b"} <= set(ran)
    assert far.values() == undisturbed


def test_workers_share_it(far, undisturbed):
    with local_cluster(cpu_lanes(2)) as executor:
        assert len(far.run(executor=executor)) == 9
        assert far.values() == undisturbed
    assert not [name for name in objects(far) if ".workers" in name]


def test_making_anew_and_cleaning(far, undisturbed):
    far.run()
    assert far.run(force=["project"]) == ["project 0 a", "project 0 b"]
    assert far.values() == undisturbed
    far.run(far.steps(dist=0.1))
    kept = reachable(reach_of(plan(far.steps(), far.store)), far.store)
    left = unreachable(far.store, kept)
    assert sorted(folder.parent.name for folder, _ in left) == ["bin"] * 4 + ["project"] * 2
    assert all(size > 0 for _, size in left)
    remove(far.store, [folder for folder, _ in left])
    assert unreachable(far.store, kept) == []
    assert far.run() == []


def test_two_runs_of_one_machine_exclude_each_other(far):
    with try_locks([far.store.lock_path("sample", "0" * 16)]):
        assert try_locks([far.store.lock_path("sample", "0" * 16)]) is None
        assert try_locks([Store(f"{far.store.root}/other").lock_path("sample", "0" * 16)])
    assert objects(far) == []


def test_a_broken_upload_shows_nothing_and_is_one_line(far, monkeypatch, undisturbed):
    fs = far.store.root.fs
    monkeypatch.setattr(fs, "pipe_file", lambda *_, **__: (_ for _ in ()).throw(ConnectionResetError("gone")))
    with pytest.raises(ResourceError, match=r"cannot use s3://.*gone; check address.*finished is kept"):
        far.run()
    assert objects(far) == []
    monkeypatch.undo()
    far.run()
    assert far.values() == undisturbed


def test_only_the_columns_asked_for_are_fetched(far, monkeypatch):
    made = artefact_of_list(far)
    noise = np.random.default_rng(0).normal(size=(20_000, 16)).astype("f4")
    wide = pa.table({"image_id": np.arange(len(noise)), "noise": list(noise)})
    record = write_part(made.folder / "part-00000.parquet", wide, {}, {})
    artefact = replace(made, manifest=replace(made.manifest, parts=(record,)))
    fetched = []
    fetch = S3File._fetch_range
    monkeypatch.setattr(S3File, "_fetch_range", lambda file, a, b: fetched.append(b - a) or fetch(file, a, b))
    assert artefact.rows(9000, 9003, ["image_id"])["image_id"].to_pylist() == [9000, 9001, 9002]
    # Only the footers (for the schema and for the rows) and one row group of the narrow column are fetched.
    assert sum(fetched) < record.bytes / 5


def artefact_of_list(far):
    steps = far.steps()[:1]
    far.run(steps)
    return artefact_of(steps[0], far.store)
