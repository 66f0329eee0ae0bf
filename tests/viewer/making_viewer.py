"""Write a viewer folder with known numbers by the functions of the stages, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atlas_pipeline.numerics.grid import cell_of, flat_cell, unflat_cell
from atlas_pipeline.numerics.region_names import GridClasses, region_names
from atlas_pipeline.viewer.grid_files import GridNumbers, class_files, number_file, overview_files
from atlas_pipeline.viewer.image_files import SampledPlaces, ShownImages, image_file, picture_files
from atlas_pipeline.viewer.layout_files import key_file, place_file, thumbnail
from atlas_pipeline.viewer.name_files import name_file
from atlas_pipeline.viewer.page_files import page_files
from atlas_pipeline.viewer.scripts import PATCH_QUALITY
from atlas_pipeline.viewer.sprites import (
    BLOCK,
    NUM_CROPS,
    NUM_NEAREST,
    NUM_RANGE,
    SHEET,
    block_files,
    sheet_files,
)

PX, CROP_PX = 32, 16
NUM_IMAGES = 400
# Every fourth image is shown whole. Its label is its number modulo 5, and the network predicts the next class
# for every third of them. Positions are of a map of 6 rows and 8 columns.
WHOLE, WHOLE_PX, MAP_SIZE = np.arange(0, NUM_IMAGES, 4), 32, (6, 8)
CLASSES = ("ant", "bee", "cat", "dog", "emu")
# Labels of the nearest patches, of cells with even and odd numbers.
SEEN = ("pond", "")


def images_xy(layer: int) -> np.ndarray:
    """Places of images, (image, 2). Each layer adds a quarter turn; in layer 0 a class has a fifth of x."""
    rng = np.random.default_rng(0)
    image = np.arange(NUM_IMAGES)
    xy = np.column_stack([(image % 5 + rng.random(NUM_IMAGES)) / 5, rng.random(NUM_IMAGES)])
    for _ in range(layer):
        xy = np.column_stack([1 - xy[:, 1], xy[:, 0]])
    return xy


def activations_xy(layer: int, positions: int) -> np.ndarray:
    """Places of activations, (image x position, 2), image by image; every second one is mirrored in x."""
    xy = np.repeat(images_xy(layer), positions, axis=0)
    ordinal = np.arange(len(xy)) % positions
    return np.where(ordinal[:, None] % 2 == 1, [1, 0] + xy * [-1, 1], xy)


def colour_of(row: int, col: int, grid: int) -> list[int]:
    """Uniform colour of an icon: red by column, green by row."""
    return [round(255 * col / grid), round(255 * row / grid), 128]


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def numbers_of(xy: np.ndarray, grid: int, labels: Sequence[str]) -> GridNumbers:
    """Numbers of the non-empty cells; class k has (k + 1) (share of its images - 0.5) logits."""
    flat = flat_cell(cell_of(xy, grid), grid)
    there, count = np.unique(flat, return_counts=True)
    row, col = unflat_cell(there, grid).T
    attribution = np.zeros((len(there), len(labels)))
    for label in range(len(labels)):
        share = np.array([(np.flatnonzero(flat == cell) % 5 == label).mean() for cell in there])
        attribution[:, label] = (label + 1) * (share - 0.5)
    steps = np.arange(len(there)) / len(there)
    return GridNumbers(
        grid=grid,
        px=PX,
        activations=len(xy),
        row=row,
        col=col,
        count=count,
        measures={
            "round_trip": np.zeros(len(there), dtype=np.int64),
            "fidelity": 0.5 + steps / 2,
            "coherence": steps,
            "noise": steps / 4,
            "nearest": steps,
        },
        attribution=attribution if len(labels) else None,
        labels=labels,
        class_indices=list(range(len(labels))),
    )


def write_grid(folder: Path, xy: np.ndarray, grid: int, labels: Sequence[str], crops: bool) -> None:
    """Write the files of one grid."""
    numbers = numbers_of(xy, grid, labels)
    cells = list(zip(numbers.row.tolist(), numbers.col.tolist(), strict=True))
    icons = np.stack([np.full((PX, PX, 3), colour_of(row, col, grid), np.uint8) for row, col in cells])
    write(
        folder,
        {
            "grid.js": number_file(numbers),
            **dict(class_files(numbers)),
            **overview_files(numbers, lambda: icons),
        },
    )
    for band in np.unique(numbers.row // SHEET):
        here = numbers.row // SHEET == band
        write(folder, sheet_files("icons", icons[here], numbers.row[here], numbers.col[here], PX))
        if crops:
            patches = 255 - icons[here][:, :CROP_PX, :CROP_PX]
            write(
                folder,
                sheet_files("crops", patches, numbers.row[here], numbers.col[here], CROP_PX, PATCH_QUALITY),
            )
    for strip in np.unique(numbers.row // BLOCK) if crops else ():
        here = np.flatnonzero(numbers.row // BLOCK == strip)
        patches = np.repeat(255 - icons[here][:, None, :CROP_PX, :CROP_PX], NUM_CROPS, axis=1)
        # Crops of the range are darker one by one.
        patches[:, NUM_NEAREST:] //= np.arange(1, NUM_RANGE + 1, dtype=np.uint8)[None, :, None, None, None]
        origins = [[cell, 1, 2, f"image-{cell}.jpg", SEEN[cell % 2]] for cell in here.tolist()]
        nearest = [[origin] * NUM_NEAREST for origin in origins]
        ranges = [[[*origin, 1 - rank / 10] for rank in range(NUM_RANGE)] for origin in origins]
        write(folder, block_files(patches, numbers.row[here], numbers.col[here], nearest, ranges))


def is_wrong(image: int) -> bool:
    """Whether the network predicts another class than the label of an image that is shown whole."""
    return image // 4 % 3 == 0


def position_of(image: int, ordinal: int = 0) -> tuple[int, int]:
    """Sampled row and column of an image."""
    return 1 + (image + ordinal) % 4, 1 + image % 6


def whole_colour(image: int) -> list[int]:
    """Uniform colour of an image that is shown whole."""
    return [40 + image // 2, 200, 255 - image // 2]


def write_whole(folder: Path, labels: Sequence[str], positions: int) -> None:
    """Write the files of the images that are shown whole."""
    label = WHOLE % 5
    wrong = np.array([is_wrong(image) for image in WHOLE.tolist()])
    images = ShownImages(
        image_id=WHOLE,
        keys=[f"image-{image}.jpg" for image in WHOLE.tolist()],
        label=label,
        label_names=dict(enumerate(labels or CLASSES)),
        predicted=np.where(wrong, (label + 1) % 5, label),
        probability=0.5 + WHOLE / 1000,
        class_names=labels or CLASSES,
        is_right=np.where(wrong, 0, 1),
    )
    layers = []
    for number, layer in enumerate(("early", "late", "bare")):
        slot, ordinal = (at.ravel() for at in np.mgrid[: len(WHOLE), :positions])
        row, col = np.transpose([position_of(*one) for one in zip(WHOLE[slot], ordinal, strict=True)])
        xy = activations_xy(number, positions)[WHOLE[slot] * positions + ordinal]
        layers.append(
            SampledPlaces(layer=layer, map_size=MAP_SIZE, slot=slot, ordinal=ordinal, row=row, col=col, xy=xy)
        )
    pictures = (np.full((WHOLE_PX, WHOLE_PX, 3), whole_colour(image), np.uint8) for image in WHOLE.tolist())
    write(
        folder / "whole_images",
        {"images.js": image_file(images, WHOLE_PX, layers), **picture_files(pictures, WHOLE_PX)},
    )


def names_of(grids: Sequence[GridNumbers], labels: Sequence[str]) -> bytes:
    """The file of names; all activations of a cell agree."""
    levels = [
        GridClasses(
            grid=numbers.grid,
            cells=np.column_stack([numbers.row, numbers.col]),
            classes=numbers.attribution.argmax(axis=1),
            counts=numbers.count,
            agreement=np.ones(len(numbers.row)),
        )
        for numbers in grids
        if numbers.attribution is not None
    ]
    return name_file(region_names(levels), labels)


def make_viewer(
    folder: Path,
    *,
    labels: Sequence[str] = CLASSES,
    grids: Sequence[int] = (8, 32),
    name: str = "made",
    moved: str = "",
    positions: int = 1,
    num_known: int | None = None,
    **changes: Any,
) -> Path:
    """Write layers ``early`` and ``late`` with all grids, a class atlas with one, a layer without icons.

    Args:
        moved: layer and view, such as ``late-all``, that claim a different layout from the others.
        positions: activations per image.
        num_known: images that keys.js and places.js list; None: all.
    """
    known = np.arange(NUM_IMAGES if num_known is None else num_known)
    layers = []
    for number, layer in enumerate(("early", "late", "bare")):
        views = []
        for view, kind in (("all", "all"), ("class-cat", "class")):
            if kind == "class" and (layer != "late" or not labels):
                continue
            image, ordinal = np.divmod(np.arange(NUM_IMAGES * positions), positions)
            chosen = np.full(len(image), True) if kind == "all" else image % 5 == 2
            image, ordinal = image[chosen], ordinal[chosen] if positions > 1 else None
            xy = activations_xy(number, positions)[chosen]
            sizes = () if layer == "bare" else grids if kind == "all" else grids[:1]
            for grid in sizes:
                write_grid(folder / layer / view / f"tiles-{grid}", xy, grid, labels, crops=grid == grids[0])
            write(
                folder / layer / view,
                {
                    "places.js": place_file(xy, image, known, ordinal),
                    "thumbnail.webp": thumbnail(xy),
                },
            )
            has_names = bool(len(labels) and sizes)
            if has_names:
                numbers = [numbers_of(xy, grid, labels) for grid in sizes]
                write(folder / layer / view, {"names.js": names_of(numbers, labels)})
            views.append(
                {
                    "name": view,
                    "kind": kind,
                    "title": "All activations" if kind == "all" else "cat",
                    "activations": len(xy),
                    "map": f"{layer}-{view}" + ("-moved" if f"{layer}-{view}" == moved else ""),
                    "grids": [{"size": grid, "cropPx": CROP_PX if grid == grids[0] else 0} for grid in sizes],
                    "names": has_names,
                    "missing": "" if sizes else "its icons are not made yet",
                }
            )
        layers.append({"name": layer, "views": views})
    keys = [f"image-{image}.jpg" for image in known]
    write(folder / "keys", {"keys.js": key_file(known, keys, known % 5, labels)})
    write_whole(folder, labels, positions)
    run = {
        "run": name,
        "digest": f"digest-of-{name}",
        "model": "network",
        "weights": "trained",
        "random": False,
        "images": NUM_IMAGES,
        "known": len(known),
        "wholeImages": len(WHOLE),
        "positions": positions,
        "generated": False,
        "layers": layers,
        "shares": [],
        "keys": True,
        "report": True,
        "scale": ["#ffffff", "#ff8800", "#000044"],
        "palette": ["#0072b2", "#e69f00", "#009e73"],
        **changes,
    }
    write(folder, page_files(run))
    return folder
