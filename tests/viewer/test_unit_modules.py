"""The script of the units' pages is one that runs without modules."""

import shutil
import subprocess

import pytest

from atlas_pipeline.viewer.unit_files import unit_page_files

RUN = {"run": "<b>", "model": "m", "weights": "", "random": False, "digest": "", "atlas": False, "layers": []}


def test_the_script_of_the_units_pages_runs_without_modules(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here; install it")
    (tmp_path / "units.cjs").write_bytes(unit_page_files(RUN)["units/units.js"])
    done = subprocess.run(
        [node, "--check", tmp_path / "units.cjs"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_runs_name_is_text_in_the_page_and_files_are_named_by_their_content():
    files = unit_page_files(RUN)
    page = files["units/index.html"].decode()
    assert "<title>&lt;b&gt; · units</title>" in page
    changed = unit_page_files({**RUN, "digest": "other"})["units/index.html"].decode()
    assert changed != page
    assert set(files) == {"units/index.html", "units/units.css", "units/units.js", "units/run.js"}
