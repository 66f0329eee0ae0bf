"""The contact sheet of a patch test: images with patches pasted on, and the network's answer to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atlas_pipeline.pictures.lettering import (
    INK,
    MUTED,
    Colour,
    canvas,
    one_line,
    place,
    width_px,
    wrapped,
    write,
)

Outcome = Literal["stays", "becomes", "leaves"]

# Vermilion and blue of Okabe and Ito: distinct with every kind of colour vision.
_COLOUR: dict[Outcome, Colour] = {"stays": MUTED, "becomes": (204, 76, 2), "leaves": (0, 96, 160)}
_LETTERS_PX = 15
_GAP_PX, _BLOCK_GAP_PX, _FRAME_PX = 12, 44, 4
_ROW_PX = round(_LETTERS_PX * 2.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleImage:
    """An image, the network's answer to it, the answer's probability, and the outcome for the test."""

    picture: NDArray[np.uint8]
    answer: str
    probability: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One patch: its heading, its picture, its success rate, and the example images with it."""

    heading: str
    patch: NDArray[np.uint8]
    share: str
    images: Sequence[ExampleImage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The icon of one cell beside its controls, all pasted at one place."""

    title: str
    columns: Sequence[Column]


def patch_sheet(
    title: str,
    subtitle: str,
    originals: Sequence[ExampleImage],
    blocks: Sequence[Block],
    legend: Sequence[tuple[Outcome, str]],
    picture_px: int = 128,
) -> NDArray[np.uint8]:
    """Draw the sheet: a row per image, a column per patch, with the unpatched images at the left.

    Args:    originals: the unpatched images, one per row. blocks: their columns have one image per row.
             picture_px: approximate side of a picture; small pictures are enlarged by a whole factor.
    Returns: (height, width, 3) uint8.
    Raises:  ValueError: a column does not have as many images as there are originals.
    """
    if any(len(column.images) != len(originals) for block in blocks for column in block.columns):
        raise ValueError(f"every column needs {len(originals)} images, one for each image without a patch")
    side = _side_px(originals[0].picture.shape[0], picture_px)
    step, left = side + _GAP_PX, _BLOCK_GAP_PX // 2
    starts = [left + side + _BLOCK_GAP_PX]
    for block in blocks:
        starts.append(starts[-1] + len(block.columns) * step - _GAP_PX + _BLOCK_GAP_PX)
    width = starts[-1] - _BLOCK_GAP_PX + left
    size = _LETTERS_PX * 1.5
    lines = wrapped(subtitle, _LETTERS_PX, width - 2 * left)
    head = left + round(size * 2 + _LETTERS_PX * (0.8 + 1.4 * len(lines)))
    patches = head + 2 * _ROW_PX
    rows = patches + side + _ROW_PX + _GAP_PX
    image = canvas(width, rows + len(originals) * (side + _ROW_PX) + round(_LETTERS_PX * 3))
    write(image, (left, left + size * 0.5), one_line(title, size, width - 2 * left), size)
    for number, line in enumerate(lines):
        y = left + size * 1.6 + _LETTERS_PX * (0.5 + 1.4 * number)
        write(image, (left, y), line, _LETTERS_PX, MUTED)

    size = _LETTERS_PX
    write(image, (left + side / 2, rows - _GAP_PX - size), "no patch", size, INK, "middle")
    _images(image, originals, left, rows, side)
    for block, start in zip(blocks, starts[:-1], strict=True):
        room = len(block.columns) * step - _GAP_PX
        write(image, (start, head + size * 0.5), one_line(block.title, size, room), size)
        ImageDraw.Draw(image).line(
            (start, head + size * 1.5, start + room - 1, head + size * 1.5), fill=(190, 190, 196)
        )
        for number, column in enumerate(block.columns):
            x = start + number * step
            write(
                image,
                (x + side / 2, patches - size * 0.8),
                one_line(column.heading, size, side),
                size,
                INK,
                "middle",
            )
            place(image, _fitted(column.patch, side), x, patches)
            share = one_line(column.share, size, step)
            write(image, (x + side / 2, patches + side + size * 0.9), share, size, INK, "middle")
            _images(image, column.images, x, rows, side)
    _legend(image, legend, left, image.height - size * 1.5)
    return np.asarray(image)


def _images(image: Image.Image, images: Sequence[ExampleImage], left: int, top: int, side: int) -> None:
    for row, shown in enumerate(images):
        y = top + row * (side + _ROW_PX)
        colour = _COLOUR[shown.outcome]
        if shown.outcome != "stays":
            frame = (left - _FRAME_PX, y - _FRAME_PX, left + side + _FRAME_PX - 1, y + side + _FRAME_PX - 1)
            ImageDraw.Draw(image).rectangle(frame, fill=colour)
        place(image, _fitted(shown.picture, side), left, y)
        number = f" {shown.probability:.2f}"
        room = side + _GAP_PX - width_px(number, _LETTERS_PX)
        words = one_line(shown.answer, _LETTERS_PX, room) + number
        write(image, (left + side / 2, y + side + _LETTERS_PX * 1.1), words, _LETTERS_PX, colour, "middle")


def _legend(image: Image.Image, legend: Sequence[tuple[Outcome, str]], left: int, middle: float) -> None:
    x = float(left)
    for outcome, words in legend:
        write(image, (x, middle), words, _LETTERS_PX, _COLOUR[outcome])
        x += width_px(words, _LETTERS_PX) + 2 * _LETTERS_PX


def _side_px(picture: int, wanted: int) -> int:
    """About ``wanted``; a whole multiple of the side of a small picture, so that its pixels stay equal."""
    return picture * max(1, round(wanted / picture)) if picture < wanted else wanted


def _fitted(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize a picture to another side; a whole factor repeats its pixels without smoothing."""
    whole = side % len(picture) == 0
    how = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize((side, side), how))
