"""Pictures completed with text: a legend, a colour scale or a warning; and their encoding as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from atlas_pipeline.pictures.colours import UNLABELLED, class_colours, density_colours
from atlas_pipeline.pictures.layout_pictures import densest, density, density_map, scatter_plot
from atlas_pipeline.pictures.lettering import (
    ALARM,
    INK,
    MUTED,
    WHITE,
    canvas,
    one_line,
    place,
    plain,
    width_px,
    wrapped,
    write,
)
from atlas_pipeline.pictures.png_stream import text_chunks

# A legend lists at most this many classes. With more it shows a bar of hues and the names of some classes.
MAX_LISTED_CLASSES = 32
# The colour scale is in activations per cell of this grid, the coarsest grid of Carter et al. 2019.
_SCALE_GRID = 20


def png_bytes(picture: NDArray[np.uint8], text: Mapping[str, str]) -> bytes:
    """A PNG file with text chunks, such as its provenance.

    Args:    picture: (height, width, 3) uint8. text: text chunks, keyword to value; the format requires
             keywords of 1 to 79 Latin-1 characters.
    Raises:  ValueError: a keyword that PNG does not allow.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", pnginfo=text_chunks(text))
    return file.getvalue()


def with_caption(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """The picture, (height, width, 3) uint8, with a ``caption_strip`` below it."""
    return np.concatenate([picture, caption_strip(picture.shape[1], text)])


def caption_strip(width: int, text: str) -> NDArray[np.uint8]:
    """A red strip with white text, for warnings.

    Args:    width: pixels.
    Returns: (height, width, 3) uint8; a single line is about a fortieth of the width high.
    """
    size = max(11.0, width / 62)
    margin = size * 0.7
    lines = wrapped(text, size, width - 2 * margin)
    step = round(size * 1.35)
    strip = canvas(width, step * len(lines) + round(size * 0.7), ALARM)
    for number, line in enumerate(lines):
        write(strip, (margin, size * 0.35 + step * (number + 0.5)), line, size, WHITE)
    return np.asarray(strip)


def density_figure(xy: NDArray[np.floating], size_px: int = 1000) -> NDArray[np.uint8]:
    """The density map with its colour scale below, in activations per cell of a 20 x 20 grid.

    Args:    xy: (activation, 2) in [0, 1], y up. size_px: side of the density map.
    Returns: (height > size_px, size_px, 3) uint8.
    """
    amount = density(xy, size_px)
    most = densest(amount)
    size = size_px / 50
    image = canvas(size_px, size_px + round(size * 3.6))
    place(image, density_map(amount), 0, 0)

    length, left = round(size_px * 0.46), round(size_px * 0.5)
    bar = density_colours(np.linspace(0, 1, length))[None].repeat(round(size * 0.7), axis=0)
    top = size_px + round(size * 0.7)
    place(image, bar, left, top)
    ImageDraw.Draw(image).rectangle(
        (left - 1, top - 1, left + length, top + len(bar)), outline=(190, 190, 196)
    )
    words = f"activations in a cell of a {_SCALE_GRID} × {_SCALE_GRID} grid"
    write(image, (left - size, top + len(bar) / 2), words, size, MUTED, "right")
    per_cell = most * (size_px / _SCALE_GRID) ** 2
    for tick in _ticks(per_cell):
        place_px = left + length * (tick / max(per_cell, 1e-12)) ** 0.5
        write(image, (place_px, top + len(bar) + size * 0.9), f"{tick:,.4g}", size * 0.9, INK, "middle")
    return np.asarray(image)


def scatter_figure(
    xy: NDArray[np.floating], labels: ArrayLike, class_names: Sequence[str] | None = None, size_px: int = 1000
) -> NDArray[np.uint8]:
    """The scatter plot with its legend to the right; without labels, only the plot coloured by density.

    Args:    xy: (activation, 2) in [0, 1], y up. labels: (activation,) class indices, -1 for none.
             class_names: by class index. A class is named by its number if this is None, or if its name has
             no letter that can be drawn (see ``lettering``). size_px: side of the scatter plot.
    Returns: (size_px, width >= size_px, 3) uint8.
    Raises:  ValueError: a label without a name.
    """
    label = np.asarray(labels, dtype=np.int64)
    most = int(label.max(initial=-1))
    known = [""] * (most + 1) if class_names is None else list(class_names)
    if most >= len(known):
        raise ValueError(f"label {most} has no name: there are {len(known)} classes")
    names = [plain(name) or f"class {number}" for number, name in enumerate(known)]
    plot = scatter_plot(xy, label, len(names), size_px)
    if most < 0:
        return plot
    colours: list[NDArray[np.uint8]] = list(class_colours(len(names)))
    if (label < 0).any():
        names, colours = [*names, "no label"], [*colours, UNLABELLED]
    legend = _list_of_classes if len(names) <= MAX_LISTED_CLASSES else _bar_of_classes
    return np.concatenate([plot, legend(names, np.stack(colours), size_px)], axis=1)


def _list_of_classes(names: Sequence[str], colours: NDArray[np.uint8], height_px: int) -> NDArray[np.uint8]:
    size = min(height_px / 46, height_px * 0.92 / len(names) / 1.3)
    step = size * 1.75 if len(names) * size * 1.75 <= height_px * 0.92 else height_px * 0.92 / len(names)
    lines = [one_line(name, size, height_px * 0.3) for name in names]
    image = canvas(round(max(width_px(line, size) for line in lines) + size * 3.2), height_px)
    top = (height_px - step * len(names)) / 2
    for number, (line, colour) in enumerate(zip(lines, colours.tolist(), strict=True)):
        middle = top + step * (number + 0.5)
        _dot(image, size, middle, size * 0.42, tuple(colour))
        write(image, (size * 1.9, middle), line, size)
    return np.asarray(image)


def _bar_of_classes(names: Sequence[str], colours: NDArray[np.uint8], height_px: int) -> NDArray[np.uint8]:
    size = height_px / 50
    length, top, thick = round(height_px * 0.84), round(height_px * 0.08), round(size * 0.9)
    shown = np.unique(np.linspace(0, len(names) - 1, 15).round().astype(int)).tolist()
    lines = [one_line(names[number], size, height_px * 0.3) for number in shown]
    image = canvas(round(max(width_px(line, size) for line in lines) + size * 3 + thick), height_px)
    rows = np.minimum(np.arange(length) * len(names) // length, len(names) - 1)
    place(image, colours[rows][:, None].repeat(thick, axis=1), round(size), top)
    for number, line in zip(shown, lines, strict=True):
        write(image, (size * 1.6 + thick, top + (number + 0.5) / len(names) * length), line, size)
    return np.asarray(image)


def _dot(image: Image.Image, x: float, y: float, radius: float, colour: tuple[int, ...]) -> None:
    # Draw at four times the size and downsample, because Pillow's ellipses have hard edges.
    side = int(np.ceil(radius * 2))
    mask = Image.new("L", (side * 4, side * 4), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, side * 4 - 1, side * 4 - 1), fill=255)
    mask = mask.resize((side, side), Image.Resampling.BOX)
    image.paste(Image.new("RGB", (side, side), colour), (round(x - side / 2), round(y - side / 2)), mask)


def _ticks(most: float) -> list[float]:
    """Values for ticks from 0 to at most ``most``: round numbers, well apart on a square-root scale."""
    if most <= 0:
        return [0.0]
    round_numbers = [m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5)]
    ticks, last = [0.0], 0.0
    for tick in round_numbers:
        if tick <= most and (tick / most) ** 0.5 - last >= 0.16:
            ticks.append(tick)
            last = (tick / most) ** 0.5
    return ticks
