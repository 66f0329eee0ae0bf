"""A hand-made run folder: every icon has a uniform colour that identifies its cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atlas_pipeline.document.atlas_json import atlas_head, atlas_json, baselines
from atlas_pipeline.document.cell_objects import Cells, cell_objects
from atlas_pipeline.numerics.mosaic import mosaic
from atlas_pipeline.pictures.figures import png_bytes, with_caption

ICON_PX = 8
LABELS = ["ant", "bee & <wasp>", "cost $5 or $6", "dog"]


def colour_of(row: int, col: int) -> tuple[int, int, int]:
    return ((40 + 10 * row) % 256, (40 + 10 * col) % 256, 128)


def write_atlas(folder: Path, layer: str, view: str, grid: int, random_weights: bool, classes: bool) -> None:
    """Write a disc of cells: the top row has class 1, otherwise the left half class 0, the right class 2."""
    row, col = (axis.ravel() for axis in np.mgrid[:grid, :grid])
    island = np.hypot(row - (grid - 1) / 2, col - (grid - 1) / 2) <= grid * 0.4
    row, col = row[island], col[island]
    count = 4 + 30 * (np.arange(len(row)) % 3)
    attribution = np.full((len(row), len(LABELS)), -1.0)
    attribution[np.arange(len(row)), np.where(row == row.min(), 1, np.where(col < grid / 2, 0, 2))] = 1
    icons = np.stack(
        [np.full((ICON_PX, ICON_PX, 3), colour_of(*of), np.uint8) for of in zip(row, col, strict=True)]
    )
    cells = Cells(
        row=row,
        col=col,
        count=count,
        measures={
            "coherence": np.linspace(0.5, 0.9, len(row)),
            "fidelity": np.linspace(0.8, 0.9, len(row)),
            "fidelity_centred": np.full(len(row), np.nan),
            "fidelity_whitened": np.full(len(row), np.nan),
            "round_trip": np.zeros(len(row), int),
            "noise": np.full(len(row), 0.25),
        },
        attribution=attribution if classes else None,
        examples=[[{"image_id": 3, "row": 1, "col": 2, "key": "a.png"}] for _ in row],
    )
    head = atlas_head(
        model="demo",
        weights="RANDOM WEIGHTS (seed 0)" if random_weights else "file with sha256 0123456789abcdef",
        random_weights=random_weights,
        layer=layer,
        view=view,
        grid=grid,
        icon_px=ICON_PX,
        icon_shift_px=0,
        num_activations=int(count.sum()) + 5,
        layout={"trustworthiness": 0.951, "neighbor_recall": 0.2, "num_neighbors": 15},
        provenance={
            "software": "atlas-pipeline 0.1.0",
            "fingerprint": "feedfacefeedface",
            "config": {"scale": "density", **_names_of(view)},
            "inputs": {
                "index": {"stage": "index", "fingerprint": "0" * 16, "config": {}},
                "project": {
                    "stage": "project",
                    "fingerprint": "0" * 16,
                    "config": {"method": "umap", "num_neighbors": 20, "min_dist": 0.1, "metric": "cosine"},
                },
                "bin": {"stage": "bin", "fingerprint": "0" * 16, "config": {"min_count": 4}},
                "invert": {"config": {"invert": {"steps": 96, "size_px": ICON_PX}}},
            },
        },
        baselines=baselines(len(row), cells.measures),
        selection=_selection_of(view),
    )
    picture = with_caption(mosaic(icons, row, col, count, grid, ICON_PX), "a strip below the squares")
    base = folder / layer / view
    base.mkdir(parents=True, exist_ok=True)
    (base / f"atlas-{grid}.json").write_bytes(atlas_json({**head, "cells": cell_objects(cells, LABELS)}))
    (base / f"atlas-{grid}.png").write_bytes(png_bytes(picture, {}))


def _names_of(view: str) -> dict[str, Any]:
    """Entries about the classes of a view in the config of the picture."""
    if view == "all":
        return {}
    return {"axis": ["ant", "dog"]} if view.startswith("compare") else {"label": LABELS[2]}


def _selection_of(view: str) -> dict[str, Any] | None:
    if view == "all":
        return None
    if view.startswith("compare"):
        return {"scale": 0.9, "of": 999}
    sign = "negative" if view.endswith("-negative") else "positive"
    return {"class": 2, "sign": sign, "filter": "both", "of": 999}
