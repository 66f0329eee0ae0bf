"""A whole run on a pretended GPU: every artefact is that of the CPU's run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from pretended_cuda import Log, pretended_cuda

from atlas_pipeline.cli.main import main
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.runs.pipeline_file import steps_of

# Parts of what a run may make; every stage that computes with torch is among them.
EVERYTHING = {
    "layers": ["1", "4"],
    "images": {"source": "generated", "num_images": 60},
    "sample": {"shard_size": 25},
    "grid": {"sizes": [2, 3], "min_count": 2},
    "project": {"num_neighbors": 5, "num_epochs": 5},
    "classes": [{"class": "emu", "layers": ["4"], "top": 30}],
    "comparisons": [{"left": "emu", "right": "dog", "layers": ["4"], "patch_test": True}],
    "patch_test": {"num_images": 4, "num_patches": 2, "sizes": [0.3]},
    "stitch": {"deep_zoom": True},
}


def run(folder: Path, config: dict[str, Any], device: str) -> tuple[Result, dict[str, Any]]:
    """`atlas run` in this process, in a workspace of its own."""
    config = {**config, "run": {**config["run"], "workspace": str(folder / device), "device": device}}
    path = folder / f"{device}.yaml"
    path.write_text(yaml.safe_dump(config))
    return CliRunner().invoke(main, ["run", str(path), "--quiet"], catch_exceptions=False), config


def tables(config: dict[str, Any]) -> dict[str, Any]:
    """Each artefact's table, by stage, layer, view and fingerprint."""
    parsed = parse_config(config)
    store = Store(parsed.run.workspace)
    found = {}
    for step in steps_of(parsed):
        artefact = artefact_of(step, store)
        found[f"{step.stage.name} {step.layer} {step.view} {artefact.fingerprint}"] = artefact.read()
    return found


@pytest.fixture(scope="module")
def runs(small_in, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], Log]:
    """The artefacts of a run on the CPU, of one on the pretended GPU, and the GPU's log."""
    folder = tmp_path_factory.mktemp("whole")
    config = {**small_in(folder), **EVERYTHING}
    result, here = run(folder, config, "cpu")
    assert result.exit_code == 0, result.stderr
    with pretended_cuda() as log:
        result, there = run(folder, config, "cuda")
    assert result.exit_code == 0, result.stderr
    return tables(here), tables(there), log


def test_every_artefact_equals_the_cpus(runs):
    here, there, _ = runs
    assert here.keys() == there.keys()
    assert {key.split()[0] for key in here} >= {"sample", "neighbors", "project", "invert", "patch_answers"}
    assert [key for key in here if not here[key].equals(there[key])] == []
