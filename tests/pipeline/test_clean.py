"""`atlas clean` keeps the artefacts of finished, active and cut-off runs, and removes the others."""

import copy
from pathlib import Path

import pytest

from atlas_pipeline.engine import Reach
from atlas_pipeline.publish import run_folder
from atlas_pipeline.publish.run_record import PUBLISHED, Record, read_record, write_record
from atlas_pipeline.runs import commands

OTHER = "other"


def end(*_, **__):
    raise KeyboardInterrupt


@pytest.fixture
def cut_off(small, atlas, monkeypatch):
    """Config of a run that ended after sampling, before its folder was written; and that of another run."""
    other = {**copy.deepcopy(small), "name": OTHER, "seed": 1}

    with monkeypatch.context() as patched:
        patched.setattr(commands, "publish", end)
        assert atlas("sample", other).exit_code == 130
    assert atlas("index", small).exit_code == 0
    return other, small


def runs_of(config):
    return Path(config["run"]["workspace"]) / "runs"


def test_what_a_run_made_before_it_was_cut_off_is_kept(cut_off, atlas):
    other, finished = cut_off
    samples = runs_of(other).parent / "cache" / "sample"
    (sample,) = samples.iterdir()
    assert "nothing to remove" in atlas("clean", finished, "--yes").stdout
    assert list(samples.iterdir()) == [sample]
    # The sample is not needed any more once its run has another seed.
    assert atlas("sample", {**other, "seed": 2}).exit_code == 0
    assert f"{sample}\n" in atlas("clean", finished, "--yes").stdout
    assert sample not in samples.iterdir()


def test_the_record_of_a_finished_run_names_nothing_to_come(cut_off, atlas):
    other, _ = cut_off
    folder = runs_of(other) / OTHER
    assert read_record(folder).to_come.fingerprints
    assert not (folder / "config.yaml").exists()
    assert atlas("run", other).exit_code == 0
    record = read_record(folder)
    assert record.to_come == Reach()
    assert not record.unfinished


def test_while_stages_are_made_anew_by_force_all_of_theirs_is_kept(small, atlas, monkeypatch):
    assert atlas("index", small).exit_code == 0
    assert not read_record(runs_of(small) / "small").to_come.stages
    with monkeypatch.context() as patched:
        patched.setattr(commands, "publish", end)
        assert atlas("sample", small, "--force").exit_code == 130
    assert {"sample", "project", "stitch"} <= read_record(runs_of(small) / "small").to_come.stages


@pytest.mark.parametrize("content", ["{", "[]", '{"artefacts": 3, "files": []}', '{"files": []}', "\xff"])
def test_a_record_that_cannot_be_read_stops_it(cut_off, atlas, content, refused):
    other, finished = cut_off
    (runs_of(other) / OTHER / PUBLISHED).write_bytes(content.encode("latin-1"))
    refused(atlas("clean", finished, "--yes"), f"run '{OTHER}'", PUBLISHED, "cannot be read", "atlas run")
    assert list((runs_of(other).parent / "cache" / "sample").iterdir())


def test_a_run_without_a_record_stops_it_and_other_files_do_not(cut_off, atlas, refused):
    other, finished = cut_off
    (runs_of(other) / "other.zip").write_text("an archive")
    (runs_of(other) / "notes").mkdir()
    assert atlas("clean", finished).exit_code == 0
    (runs_of(other) / "notes" / "config.yaml").write_text("name: unpacked")
    refused(atlas("clean", finished, "--yes"), "run 'notes'", "does not say what it was made from")


def test_what_a_command_made_beside_the_config_is_kept_while_it_is_published(
    small, finished, atlas, monkeypatch
):
    finished(small)
    with monkeypatch.context() as patched:
        patched.setattr(run_folder.RunFolder, "finish", end)
        assert atlas("highlight", small, "--class", "cat").exit_code == 130
    assert "nothing to remove" in atlas("clean", small).stdout


def test_a_record_reads_back_as_it_was_written(tmp_path):
    record = Record(
        artefacts=("a", "b"),
        files=("x.png",),
        by_command={"y.png": {"own": ["c"], "beneath": ["a"]}},
        drawn={"x.png": {"sources": "s", "digest": "d"}},
        to_come=Reach(fingerprints=frozenset("d"), stages=frozenset({"project"})),
        unfinished=True,
    )
    for one in (record, Record()):
        write_record(tmp_path, one)
        assert read_record(tmp_path) == one
    assert read_record(tmp_path / "nowhere") is None
