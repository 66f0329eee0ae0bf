"""A folder whose update is in progress or was interrupted does not count as complete."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from atlas_pipeline.engine import Store
from atlas_pipeline.publish import publication as publish
from atlas_pipeline.publish import run_folder
from atlas_pipeline.publish.run_record import PUBLISHED
from atlas_pipeline.runs import outputs

LATE = "4"


def made_config(folder):
    """Config of a hand-made run, with the workspace as its user would set it."""
    return yaml.safe_load((folder / "config.yaml").read_text()) | {
        "run": {"workspace": str(folder.parents[1])}
    }


COMMANDS = [("figure", "--layer", "conv1", "--labels", "0"), ("export",)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_unfinished_folder_is_neither_drawn_nor_packed(made_run, atlas, tmp_path, command, refused):
    folder = made_run()
    record = json.loads((folder / PUBLISHED).read_text())
    (folder / PUBLISHED).write_text(json.dumps({**record, "unfinished": True}))
    path = tmp_path / ("out.zip" if command[0] == "export" else "fig.png")
    refused(atlas(command[0], made_config(folder), *command[1:], "-o", str(path)), "run 'made'", "atlas run")
    assert not path.exists()
    (folder / PUBLISHED).write_text(json.dumps(record))
    assert atlas(command[0], made_config(folder), *command[1:], "-o", str(path)).exit_code == 0
    assert path.is_file()


@pytest.mark.parametrize(
    ("command", "does"), [(COMMANDS[0], "save_figure"), (COMMANDS[1], "export_run")], ids=["figure", "export"]
)
def test_nobody_else_brings_a_folder_up_to_date_while_it_is_drawn_or_packed(
    made_run, atlas, tmp_path, monkeypatch, command, does
):
    folder, do, could = made_run(), getattr(outputs, does), []
    lock = Store(folder.parents[1]).lock_path("runs", "made")
    script = (
        "import sys; from pathlib import Path; from atlas_pipeline.engine.lock import try_locks;"
        "print(try_locks([Path(sys.argv[1])]) is not None)"
    )

    def ask(*arguments):
        # A lock belongs to a process, so another process must try to take it.
        could.append(subprocess.check_output([sys.executable, "-c", script, str(lock)], text=True).strip())
        return do(*arguments)

    monkeypatch.setattr(outputs, does, ask)
    path = tmp_path / ("out.zip" if command[0] == "export" else "fig.png")
    assert atlas(command[0], made_config(folder), *command[1:], "-o", str(path)).exit_code == 0
    assert could == ["False"]


@pytest.mark.parametrize("where", ["pictures", "viewer", "finish"])
def test_a_publication_that_is_cut_off_leaves_the_folder_marked(
    small, finished, atlas, tmp_path, monkeypatch, where, refused
):
    finished(small)
    small["grid"]["min_count"] = 3
    folder = Path(small["run"]["workspace"]) / "runs" / small["name"]
    config = (folder / "config.yaml").read_bytes()

    def end(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if where == "pictures":
            write, written = run_folder.RunFolder.write_pieces, []

            def write_two(self, name, pieces):
                written.append(name)
                return end() if len(written) > 2 else write(self, name, [*pieces, b"other"])

            patched.setattr(run_folder.RunFolder, "write_pieces", write_two)
        elif where == "viewer":
            patched.setattr(publish, "viewer_files", end)
        else:
            patched.setattr(run_folder.RunFolder, "finish", end)
        assert atlas("run", small).exit_code == 130
    if where != "finish":
        assert (folder / "config.yaml").read_bytes() == config
    for command in (("figure", "--layer", LATE), ("export", "-o", str(tmp_path / "out.zip"))):
        refused(atlas(*command[:1], small, *command[1:]), "was being brought up to date", "atlas run")
    # Files that differ are rewritten, and the mark is removed.
    assert atlas("run", small).exit_code == 0
    assert "unfinished" not in json.loads((folder / PUBLISHED).read_text())
    assert atlas("export", small, "-o", str(tmp_path / "out.zip")).exit_code == 0
