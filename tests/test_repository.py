"""Promises to contributors: one list of versions, working README commands, no recorded addresses."""

import importlib
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import atlas_pipeline
from atlas_pipeline.engine import Stage

REPOSITORY = Path(__file__).parent.parent


def _pyproject() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def test_constraints_file_and_uv_agree():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert pinned == _pyproject()["tool"]["uv"]["constraint-dependencies"]
    assert all("==" in line for line in pinned)


def test_readme_has_the_two_commands_and_ci_runs_the_second():
    readme = (REPOSITORY / "README.md").read_text()
    assert "pip install uv && uv run atlas run configs/quickstart.yaml" in readme
    assert "pip install uv && uv run pytest" in readme
    assert "uv run pytest" in (REPOSITORY / ".ci" / "run").read_text()


def test_no_lock_file_is_committed():
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "uv.lock" not in listed.stdout.split()


def test_the_docs_list_every_column_that_a_stage_declares():
    stages = [
        value
        for module in pkgutil.walk_packages(atlas_pipeline.__path__, "atlas_pipeline.")
        if module.name.startswith(("atlas_pipeline.stages.", "atlas_pipeline.patch_test."))
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, Stage)
    ]
    assert len({stage.name for stage in stages}) > 20
    rows = [
        line for line in (REPOSITORY / "docs" / "artefacts.md").read_text().splitlines() if line[:2] == "| "
    ]
    for stage in stages:
        (row,) = [row for row in rows if re.search(rf"\b{stage.name}\b", row.split("|")[1])]
        missing = [column.name for column in stage.columns if f"`{column.name}`" not in row]
        assert not missing, (stage.name, missing)
