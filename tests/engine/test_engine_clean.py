"""Artefacts that no config reaches are listed and removed."""

import pytest

from atlas_pipeline.engine import plan, reach_of, reachable, remove, store, unreachable
from atlas_pipeline.engine.lock import try_locks


def leftovers(bench, **config):
    kept = reachable(reach_of(plan(bench.steps(**config), bench.store)), bench.store)
    return unreachable(bench.store, kept)


def test_lists_what_no_config_reaches_and_removes_it(bench):
    bench.run()
    before = bench.values()
    assert leftovers(bench) == []
    bench.run(bench.steps(dist=0.1))
    found = leftovers(bench)
    assert sorted(folder.parent.name for folder, _ in found) == ["bin"] * 4 + ["project"] * 2
    for folder, size in found:
        assert size == sum(file.stat().st_size for file in folder.iterdir()) > 0
    assert remove(bench.store, [folder for folder, _ in found]) == [folder for folder, _ in found]
    assert leftovers(bench) == []
    assert bench.run() == []
    assert bench.values() == before


def test_keeps_a_stage_whose_fingerprints_are_not_known_yet(bench):
    bench.run()
    assert [folder.parent.name for folder, _ in leftovers(bench, stamp="moved")] == ["list"]


def test_leaves_everything_else_in_the_workspace(bench):
    bench.run()
    notes = bench.store.root / "sample" / "notes-of-mine"
    notes.mkdir()
    assert {folder.name for folder, _ in unreachable(bench.store, set())}.isdisjoint({notes.name})


def test_finishes_a_removal_that_was_killed(bench, monkeypatch):
    bench.run()
    (folder, size), *_ = unreachable(bench.store, set())

    def die(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "remove_folder", die)
    with pytest.raises(KeyboardInterrupt):
        remove(bench.store, [folder])
    monkeypatch.undo()
    everything = {folder.name for folder in bench.store.folders()}
    (aside, left) = next((f, s) for f, s in unreachable(bench.store, everything) if folder.name in f.name)
    assert left == size
    assert remove(bench.store, [aside]) == [aside]
    assert unreachable(bench.store, everything) == []


def test_leaves_what_a_run_is_making(bench):
    bench.run()
    (folder, _), *_ = unreachable(bench.store, set())
    with try_locks([bench.store.lock_path(folder.parent.name, folder.name)]):
        # Remove from another process: the lock protects the artefact against other processes.
        assert remove_elsewhere(bench, folder) == "[]"
    assert remove(bench.store, [folder]) == [folder]


def remove_elsewhere(bench, folder):
    import subprocess
    import sys

    script = (
        "import sys; from pathlib import Path; from atlas_pipeline.engine import Store, remove;"
        "print(remove(Store(sys.argv[1]), [Path(sys.argv[2])]))"
    )
    command = [sys.executable, "-c", script, str(bench.store.root.parent), str(folder)]
    return subprocess.check_output(command, text=True).strip()
