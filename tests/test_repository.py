"""What a contributor relies on: one list of versions, the README's commands, no recorded addresses."""

import subprocess
import tomllib
from pathlib import Path

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
