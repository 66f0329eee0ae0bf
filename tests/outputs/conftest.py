"""Fixture that writes a hand-made run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hand_made import write_atlas


@pytest.fixture
def made_run(tmp_path: Path) -> Callable[..., Path]:
    """`made_run()` writes a run of two layers with a class atlas and a comparison, and returns its folder."""

    def make(
        random_weights: bool = False, classes: bool = True, layers: tuple[str, ...] = ("conv1", "conv2")
    ) -> Path:
        folder = tmp_path / "workspace" / "runs" / "made"
        views = [(layer, "all", grid) for layer in layers for grid in (6, 12)]
        views += [(layers[-1], "class-cost-5-or-6", 6), (layers[-1], "compare-ant-dog", 6)]
        for layer, view, grid in views:
            write_atlas(folder, layer, view, grid, random_weights, classes)
        (folder / "index.html").write_text("<p>made</p>")
        config: dict[str, Any] = {
            "name": "made",
            "seed": 0,
            "model": {"source": "demo"},
            "images": {"source": "folder", "path": "/a/b/photos/train"},
            "layers": ["conv1", "conv2"],
            "sample": {"positions_per_image": 1, "maxpool_gradient": "smooth"},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        record = {"artefacts": ["feedfacefeedface"], "files": files}
        (folder / ".published.json").write_text(json.dumps(record))
        return folder

    return make
