"""Fingerprints of every step of the shipped configs, and of a config that uses every feature.

A change of the code's structure keeps them, so that finished workspaces stay finished. A change of values
needs a new stage version. In that case, rewrite the table and say so in the changelog:

    python tests/pipeline/test_fingerprints.py
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Step
from atlas_pipeline.engine.fingerprint import fingerprint
from atlas_pipeline.runs.pipeline_file import steps_of

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).parent / "fingerprints.json"
SHIPPED = ("quickstart", "cifar10", "googlenet_imagenet", "inception_v1")
NETWORK = """
def build():
    raise RuntimeError("a fingerprint needs no network")

LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
"""
EVERYTHING: dict[str, Any] = {
    "name": "everything",
    "seed": 3,
    "images": {"source": "generated", "num_images": 500},
    "layers": ["mixed3", "mixed4"],
    "sample": {"positions_per_image": 2, "attribution_method": "integrated", "integrated_steps": 4},
    "project": {"fit_on": 300, "engine": "parallel", "num_neighbors": 12},
    "grid": {"sizes": [4, 8], "min_count": 2},
    "invert": {"whitening": 0.5, "attempts": 2, "warm_steps": 8, "patience": 4},
    "stitch": {"deep_zoom": True, "scale": "full", "examples": 4},
    "classes": "all",
    "comparisons": [{"left": "cat", "right": "dog", "method": "umap", "patch_test": True}],
    "highlights": [{"class": "cat", "sign": "negative"}],
    "vocabularies": [{"class": "dog", "num_cells": 5}],
    "patch_test": {"num_images": 50, "num_patches": 4},
}
ALIGNED = {
    **EVERYTHING,
    "name": "aligned",
    "project": {"align": True},
    "classes": [{"class": "cat", "method": "umap", "filter": "rank"}],
}
UNITS = {
    **EVERYTHING,
    "name": "units",
    "classes": [],
    "comparisons": [],
    "units": {"only": ["mixed4:17"], "ranges": [0, 2], "icons": ["neuron", "diverse"], "num_weights": 3},
}

DIRECTIONS = {
    **EVERYTHING,
    "name": "directions",
    "classes": [],
    "comparisons": [],
    "directions": {"layers": ["mixed4"], "method": "dictionary", "num_atoms": 20, "sparsity": 0.1},
}


def configs(folder: Path) -> dict[str, dict[str, Any]]:
    """name -> config, with images and weights that need no downloaded files."""
    (folder / "network.py").write_text(NETWORK)
    own = {"source": "python", "name": f"{folder}/network.py:build"}
    found = {name: yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()) for name in SHIPPED}
    for values in found.values():
        if values["images"]["source"] != "generated":
            values["images"] = {"source": "generated", "num_images": values["images"].get("num_images")}
    found["cifar10"]["model"] = own
    found["inception_v1"]["model"]["weights"] = "random"
    return {
        **found,
        "everything": {**EVERYTHING, "model": own},
        "aligned": {**ALIGNED, "model": own},
        "units": {**UNITS, "model": own},
        "directions": {**DIRECTIONS, "model": own},
    }


def fingerprints(values: dict[str, Any]) -> dict[str, str]:
    """Step -> digest of its stage, version and config, and of its inputs down to the images."""
    known: dict[Step, str] = {}

    def visit(step: Step) -> str:
        if step not in known:
            inputs = {role: visit(source) for role, source in step.inputs.items()}
            known[step] = fingerprint(step.stage, step.config, inputs)
        return known[step]

    rows: dict[str, str] = {}
    for step in steps_of(parse_config(values)):
        labels = (step.stage.name, step.layer, step.view, step.grid)
        name = " ".join(str(label) for label in labels if label is not None)
        number = sum(known_name.split(" #")[0] == name for known_name in rows)
        rows[f"{name} #{number + 1}" if number else name] = visit(step)
    return rows


@pytest.mark.parametrize("name", [*SHIPPED, "everything", "aligned", "units", "directions"])
def test_every_step_keeps_its_fingerprint(name: str, tmp_path: Path) -> None:
    assert fingerprints(configs(tmp_path)[name]) == json.loads(TABLE.read_text())[name]


def test_euclidean_neighbours_of_the_first_search_are_not_reused(tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    model = {"source": "python", "name": f"{tmp_path}/network.py:build"}
    steps = steps_of(parse_config({**EVERYTHING, "model": model, "project": {"metric": "euclidean"}}))
    step = next(step for step in steps if step.stage.name == "neighbors")
    first = replace(step.config, euclidean_search=None)
    assert fingerprint(step.stage, step.config, {}) != fingerprint(step.stage, first, {})


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        table = {name: fingerprints(values) for name, values in configs(Path(folder)).items()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    sys.stdout.write(f"{sum(map(len, table.values()))} fingerprints of {len(table)} configs\n")
