"""The examples in docstrings run and give the output shown."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "figure",
    "figure.request",
    "figure.saving",
    "images.generated.compose",
    "inversion.dream",
    "inversion.fourier",
    "inversion.icons",
    "inversion.loop",
    "inversion.objective",
    "inversion.objectives",
    "inversion.settings",
    "inversion.tiles",
    "models.arithmetic",
    "models.attribution",
    "models.capture",
    "models.block_ends",
    "models.cut",
    "models.labels",
    "models.layers",
    "models.open",
    "models.out_of_memory",
    "numerics.comparison",
    "numerics.fidelity",
    "numerics.grid",
    "numerics.whitening",
    "reader",
    "reader.atlas",
    "reader.run",
    "runs.init_text",
]


@pytest.fixture
def run_of_the_examples(tmp_path, monkeypatch):
    """A hand-made run `data/runs/quickstart` in the working directory, with one atlas of mixed5."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "outputs")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "runs" / "quickstart"
    importlib.import_module("hand_made").write_atlas(folder, "mixed5", "all", 20, False, True)
    (folder / "config.yaml").write_text("name: quickstart\nlayers: [mixed5]\n")


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_give_what_they_show(name, run_of_the_examples):
    results = doctest.testmod(importlib.import_module(f"atlas_pipeline.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
