"""Truncated, altered and missing files are found and made again; a disk error is one clear line."""

import errno
import os
from dataclasses import replace

import pytest

from atlas_pipeline.engine import Store, artefact_of, plan, unfinished, verify
from atlas_pipeline.engine.manifest import read_manifest
from atlas_pipeline.errors import CorruptArtefactError, ResourceError

BIN_A = ["bin 0 a2,a3"]


def flip(path, *, keep_times, at=None):
    """Invert the byte at `at`, by default one among the values of the last column's page.

    The page still decompresses, so only its checksum reveals the damage.
    """
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[at if at is not None else content.rindex(b"\x28\xb5\x2f\xfd") + 32] ^= 0xFF
    path.write_bytes(content)
    if keep_times:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def edit(path):
    path.write_bytes(path.read_bytes().replace(b'"rows": 6', b'"rows": 7', 1))


def state_of(bench, stage, layer="a"):
    return next(s for s in plan(bench.steps(), bench.store) if (s.stage, s.layer) == (stage, layer))


@pytest.mark.parametrize("how", [cut, lambda path: flip(path, keep_times=False), os.remove])
def test_a_damaged_part_is_made_again_alone(bench, how):
    bench.run()
    before = bench.values()
    part = bench.folder("sample", "a") / "part-00003.parquet"
    how(part)
    state = state_of(bench, "sample")
    assert (state.state, state.tasks, state.tasks_done) == ("partial", 4, 3)
    assert state.reason == f"part-00003.parquet is {'damaged' if part.exists() else 'missing'}"
    assert bench.run() == ["sample 3 a"]
    assert bench.values() == before
    assert bench.run() == []


@pytest.mark.parametrize("how", [cut, edit, lambda path: flip(path, keep_times=True, at=40)])
def test_a_damaged_manifest_is_written_again_from_the_parts(bench, how):
    bench.run()
    before = bench.values()
    how(bench.folder("sample", "a") / "manifest.json")
    state = state_of(bench, "sample")
    assert (state.state, state.tasks_done, state.reason) == ("partial", 4, "manifest.json is damaged")
    assert bench.run() == []
    assert state_of(bench, "sample").state == "done"
    assert bench.values() == before


def test_parts_taken_over_are_recorded_as_those_just_made(bench):
    bench.run()
    folder = bench.folder("sample", "a")
    made = read_manifest(folder).parts
    (folder / "manifest.json").unlink()
    bench.run()
    assert read_manifest(folder).parts == tuple(replace(part, seconds=None) for part in made)


def test_a_worker_killed_while_it_writes_leaves_nothing_behind(bench, monkeypatch):
    """Another worker repeats the task; the temporary file is removed before the manifest is written."""
    bench.run(only={"sample"})
    folder = bench.folder("sample", "a")
    part = folder / "part-00003.parquet"
    part.unlink()
    stray = folder / ".part-00003.parquet.0f.tmp"
    swept = unfinished.remove_temporary_files

    def sweep_and_die(at):
        swept(at)
        if at == folder and not part.exists():
            stray.write_bytes(b"half")

    monkeypatch.setattr(unfinished, "remove_temporary_files", sweep_and_die)
    assert bench.run(only={"sample"}) == ["sample 3 a"]
    assert not stray.exists()


def test_verify_finds_what_no_task_reads(bench):
    bench.run()
    before = bench.values()
    part = bench.folder("sample", "a") / "part-00001.parquet"
    flip(part, keep_times=True)
    fingerprint = part.parent.name
    assert verify(bench.store) == [("sample", fingerprint, [part.name])]
    assert verify(bench.store) == []
    assert bench.run() == ["sample 1 a"]
    assert bench.values() == before


def test_a_damaged_manifest_of_an_input_with_identity_holds_nothing_up(bench):
    bench.run()
    cut(bench.folder("list") / "manifest.json")
    assert state_of(bench, "sample").fingerprint is None
    assert bench.run() == []


def test_damage_that_only_shows_on_reading_is_made_again_on_the_way(bench):
    """File size and modification time are as recorded; only the page's checksum reveals the damage."""
    bench.run()
    before = bench.values()
    flip(bench.folder("sample", "a") / "part-00001.parquet", keep_times=True)
    assert bench.run() == []  # no task reads that part
    for grid in bench.store.folders("project"):
        (grid / "manifest.json").unlink()
        (grid / "part-00000.parquet").unlink()
    ran = bench.run()
    assert sorted(ran) == ["project 0 a", "project 0 a", "project 0 b", "sample 1 a"]
    assert ran.index("sample 1 a") < len(ran) - 1 - ran[::-1].index("project 0 a")
    assert bench.values() == before


def test_damage_in_an_unfinished_artefact_is_found_on_taking_it_over(bench):
    bench.run()
    before = bench.values()
    folder = bench.folder("sample", "a")
    (folder / "manifest.json").unlink()
    flip(folder / "part-00002.parquet", keep_times=True)
    assert bench.run() == ["sample 2 a"]
    assert bench.values() == before


def test_a_disk_that_spoils_everything_ends_the_run(bench, monkeypatch):
    bench.run(only={"sample"})

    def unreadable(self, columns=None):
        raise CorruptArtefactError("part-00000.parquet is damaged (again)")

    monkeypatch.setattr("atlas_pipeline.engine.artefact.StoredArtefact.parts", unreadable)
    with pytest.raises(CorruptArtefactError, match="again"):
        bench.run()
    assert bench.ran() == ["project 0 a"] * 4


def test_a_disk_that_changes_what_is_written_ends_the_run(bench, monkeypatch):
    monkeypatch.setattr("atlas_pipeline.engine.store.Store.damaged", lambda *_, **__: ["part-00000.parquet"])
    with pytest.raises(CorruptArtefactError, match="does not read back as it was written; check the disk"):
        bench.run()


def test_a_copied_workspace_is_read_through_once(bench, monkeypatch):
    bench.run()
    for part in bench.store.root.rglob("part-*"):
        os.utime(part, ns=(0, 0))
    assert bench.run() == []
    bench.store = Store(bench.store.root.parent)
    monkeypatch.setattr("atlas_pipeline.engine.store.file_digest", None)
    assert bench.run() == []


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EFBIG, "the file is larger than is allowed"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_disk_trouble_is_one_line_and_leaves_nothing_half_written(bench, monkeypatch, trouble, says):
    bench.run(only={"list"})

    def fail(path):
        raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr("atlas_pipeline.engine.atomic_files.open_temporary", fail)
    with pytest.raises(ResourceError, match=says) as caught:
        bench.run()
    assert "\n" not in str(caught.value)
    assert "part-00000.parquet" in str(caught.value)
    monkeypatch.undo()
    assert len(bench.run()) == 8


def test_a_really_full_disk(bench, monkeypatch):
    """The kernel refuses a write part-way through a file."""

    def on_full_disk(path):
        path.touch()
        return open("/dev/full", "wb")

    monkeypatch.setattr("atlas_pipeline.engine.atomic_files.open_temporary", on_full_disk)
    with pytest.raises(ResourceError, match="disk is full"):
        bench.run()
    assert not list(bench.store.root.rglob("*.tmp"))


def test_a_finished_run_needs_no_writing(bench, monkeypatch):
    """Another user's read-only workspace works as it is."""
    bench.run()

    def fail(*_):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("atlas_pipeline.engine.atomic_files.open_temporary", fail)
    monkeypatch.setattr("atlas_pipeline.engine.execute.try_locks", fail)
    assert bench.run() == []
    assert artefact_of(bench.steps()[1], bench.store).num_rows == 20


def test_left_over_temp_files_are_swept(bench):
    bench.run()
    folder = bench.folder("sample", "a")
    (folder / "manifest.json").unlink()
    (folder / ".part-00000.parquet.0.tmp").write_bytes(b"half")
    (folder / "part-00009.parquet").write_bytes(b"stray")
    bench.run()
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["manifest.json", *[f"part-{i:05d}.parquet" for i in range(4)]]
