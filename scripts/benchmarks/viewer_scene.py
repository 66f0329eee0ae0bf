"""A synthetic run for `viewer.py`: nine layers, grids up to 320 x 320, 1,000 classes.

The functions of the stages write the files. Layers after the first are hard links to it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from atlas_pipeline.numerics.region_names import GridClasses, region_names
from atlas_pipeline.viewer.grid_files import GridNumbers, class_files, number_file, overview_files
from atlas_pipeline.viewer.layout_files import key_file, place_file, thumbnail
from atlas_pipeline.viewer.name_files import name_file
from atlas_pipeline.viewer.page_files import page_files
from atlas_pipeline.viewer.sprites import SHEET, sheet_files

LAYERS = [f"mixed{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
GRIDS = (20, 40, 80, 160, 320)
NUM_CLASSES, PX, NUM_KNOWN = 1000, 96, 20_000


def write(folder: Path, name: str, content: bytes) -> None:
    """Write one file, and create its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def icon(row: int, col: int, grid: int) -> np.ndarray:
    """A smooth blob with some noise, so that it compresses like an icon: (PX, PX, 3) uint8."""
    rng = np.random.default_rng([row, col, grid])
    small = rng.integers(0, 256, (6, 6, 3)).astype(np.float32)
    small[2:4, 2:4] = (255 * col / grid, 255 * row / grid, 128)
    weights = np.maximum(0, 1 - np.abs(np.arange(PX)[:, None] * 5 / (PX - 1) - np.arange(6)))
    smooth = np.einsum("yr,xc,rcd->yxd", weights, weights, small, optimize=True)
    return np.clip(smooth + rng.normal(0, 6, (PX, PX, 1)), 0, 255).astype(np.uint8)


def numbers_of(grid: int) -> GridNumbers:
    """Numbers of a grid whose cells form a disc and whose classes form blobs."""
    at = (np.arange(grid) + 0.5) / grid
    y, x = np.meshgrid(at, at, indexing="ij")
    row, col = np.nonzero(np.hypot(x - 0.5, y - 0.5) < 0.5 + 0.03 * np.sin(9 * np.arctan2(y - 0.5, x - 0.5)))
    rng = np.random.default_rng(grid)
    centre = np.random.default_rng(0).random((NUM_CLASSES, 2))
    attribution = np.empty((len(row), NUM_CLASSES), dtype=np.float32)
    for label in range(NUM_CLASSES):
        far = (at[col] - centre[label, 0]) ** 2 + (at[row] - centre[label, 1]) ** 2
        attribution[:, label] = np.exp(-far / 0.01) + rng.normal(0, 0.02, len(row)) - 0.05
    return GridNumbers(
        grid=grid,
        px=PX,
        activations=1_000_000,
        row=row,
        col=col,
        count=rng.integers(10, 900, len(row)),
        measures={
            "round_trip": rng.integers(0, 5, len(row)),
            **{
                name: rng.random(len(row))
                for name in ("fidelity", "coherence", "consistency", "noise", "nearest")
            },
        },
        attribution=attribution,
        labels=[f"class number {label}" for label in range(NUM_CLASSES)],
        class_indices=list(range(NUM_CLASSES)),
    )


def write_grid(folder: Path, grid: int) -> GridClasses:
    """Write all files of a grid; return the top classes of its cells."""
    numbers = numbers_of(grid)
    write(folder, "grid.js", number_file(numbers))
    for name, content in class_files(numbers):
        write(folder, name, content)

    def icons() -> Iterator[np.ndarray]:
        return (icon(r, c, grid) for r, c in zip(numbers.row.tolist(), numbers.col.tolist(), strict=True))

    for name, content in overview_files(numbers, icons).items():
        write(folder, name, content)
    band = grid // SHEET // 2
    here = numbers.row // SHEET == band
    rows, cols = numbers.row[here], numbers.col[here]
    pictures = np.stack([icon(r, c, grid) for r, c in zip(rows.tolist(), cols.tolist(), strict=True)])
    for name, content in sheet_files("icons", pictures, rows, cols, PX).items():
        write(folder, name, content)
    link_bands(folder, numbers, band)
    assert numbers.attribution is not None
    return GridClasses(
        grid=grid,
        cells=np.column_stack([numbers.row, numbers.col]),
        classes=numbers.attribution.argmax(axis=1),
        counts=numbers.count,
        agreement=numbers.measures["consistency"],
    )


def link_bands(folder: Path, numbers: GridNumbers, made: int) -> None:
    """Link the sheets of all other bands to the middle one, which has all columns; saves most of the time."""
    sheets = {(int(r) // SHEET, int(c) // SHEET) for r, c in zip(numbers.row, numbers.col, strict=True)}
    for band, column in sheets:
        for end in (".js", "-low.js"):
            if band != made:
                os.link(folder / f"icons-{made}-{column}{end}", folder / f"icons-{band}-{column}{end}")


def make_run(folder: Path, grids: tuple[int, ...]) -> None:
    """Write the whole folder."""
    first = folder / LAYERS[0] / "all"
    classes = [write_grid(first / f"tiles-{grid}", grid) for grid in grids]
    labels = [f"class number {label}" for label in range(NUM_CLASSES)]
    write(first, "names.js", name_file(region_names(classes), labels))
    finish_run(folder, grids)


def finish_run(folder: Path, grids: tuple[int, ...]) -> None:
    """Write the files that belong to no grid, the other layers, and the page."""
    first = folder / LAYERS[0] / "all"
    known = np.arange(NUM_KNOWN)
    xy = np.random.default_rng(1).random((NUM_KNOWN, 2))
    write(first, "places.js", place_file(xy, known, known))
    write(first, "thumbnail.webp", thumbnail(xy))
    keys = [f"n{image % 1000:08d}/n{image % 1000:08d}_{image}.JPEG" for image in known]
    write(
        folder / "keys",
        "keys.js",
        key_file(known, keys, known % 1000, [f"class number {k}" for k in range(1000)]),
    )
    for layer in LAYERS[1:]:
        shutil.copytree(first, folder / layer / "all", copy_function=os.link)
    view = {"name": "all", "map": "bench", "kind": "all", "title": "All activations", "missing": ""}
    view |= {
        "names": True,
        "activations": 1_000_000,
        "grids": [{"size": grid, "cropPx": 0} for grid in grids],
    }
    run = {"run": "bench", "digest": "bench", "model": "synthetic", "weights": "none", "random": False}
    run |= {"images": 1_000_000, "known": NUM_KNOWN, "positions": 1, "generated": True}
    run |= {"shares": [], "keys": True, "report": False}
    run |= {"layers": [{"name": layer, "views": [view]} for layer in LAYERS]}
    run |= {"scale": ["#ffffff", "#ff8800", "#000044"], "palette": ["#0072b2", "#e69f00", "#009e73"]}
    for name, content in page_files(run).items():
        write((folder / name).parent, Path(name).name, content)
