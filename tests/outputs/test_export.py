import hashlib
import json
import os
import zipfile

import pytest

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.publish.export import PROVENANCE_FILE, export_run
from atlas_pipeline.publish.run_record import PUBLISHED


def test_the_archive_holds_what_was_made_and_says_what_it_should_be(made_run, tmp_path):
    folder = made_run()
    (folder / "my-notes.txt").write_text("mine")
    number = export_run(folder, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        said = json.loads(archive.read(f"made/{PROVENANCE_FILE}"))
        for name, digest in said["files"].items():
            assert hashlib.sha256(archive.read(f"made/{name}")).hexdigest() == digest
            assert archive.read(f"made/{name}") == (folder / name).read_bytes()
    assert len(names) == number == len(said["files"]) + 1
    assert names[:-1] == sorted(names[:-1])
    assert "made/my-notes.txt" not in names
    assert "made/index.html" in names
    assert said["artefacts"] == ["feedfacefeedface"]


def test_the_same_run_is_the_same_bytes_whenever_it_was_written(made_run, tmp_path):
    folder = made_run()
    export_run(folder, tmp_path / "one.zip")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    export_run(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_what_a_killed_export_left_of_the_same_archive_is_swept(made_run, tmp_path):
    folder = made_run()
    for name in ("out[1].zip", "out.zip"):
        (tmp_path / f".{name}.0f.tmp").write_bytes(b"half")
    export_run(folder, tmp_path / "out[1].zip")
    assert {path.name for path in tmp_path.glob(".*.tmp")} == {".out.zip.0f.tmp"}


def test_a_record_that_cannot_be_read_is_told(made_run, tmp_path):
    folder = made_run()
    (folder / PUBLISHED).write_text("{")
    with pytest.raises(ConfigError, match=r"run 'made': .*cannot be read.*atlas run"):
        export_run(folder, tmp_path / "out.zip")


def test_a_run_with_nothing_done_or_a_file_gone_is_refused_and_leaves_nothing(made_run, tmp_path):
    (tmp_path / "fresh").mkdir()
    with pytest.raises(ConfigError, match=r"no atlas yet.*atlas run"):
        export_run(tmp_path / "fresh", tmp_path / "out.zip")
    folder = made_run()
    (folder / "index.html").unlink()
    with pytest.raises(ConfigError, match=r"index\.html is gone"):
        export_run(folder, tmp_path / "out.zip")
    assert not list(tmp_path.glob("*out.zip*"))
