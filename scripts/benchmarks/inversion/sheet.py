"""A contact sheet: one row per engine, one column per direction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

TILE_PX, GAP_PX, CAPTION_PX = 64, 2, 14


def sheet(rows: Sequence[tuple[str, np.ndarray]], num_columns: int) -> Image.Image:
    """Draw rows of icons under captions, enlarged by a whole factor to at least 64 px.

    Args: rows: caption and icons (N, S, S, 3) uint8; all icons have the same size.
    """
    num_columns = min([num_columns, *(len(icons) for _, icons in rows)])
    size_px = rows[0][1].shape[1]
    zoom = max(1, -(-TILE_PX // size_px))
    pitch = zoom * size_px + GAP_PX
    picture = Image.new("RGB", (num_columns * pitch - GAP_PX, len(rows) * (pitch + CAPTION_PX)), "white")
    draw = ImageDraw.Draw(picture)
    for number, (caption, icons) in enumerate(rows):
        top = number * (pitch + CAPTION_PX)
        draw.text((1, top), caption, fill="black")
        for column, icon in enumerate(icons[:num_columns]):
            enlarged = icon.repeat(zoom, axis=0).repeat(zoom, axis=1)
            picture.paste(Image.fromarray(enlarged), (column * pitch, top + CAPTION_PX))
    return picture


def write_sheet(rows: Sequence[tuple[str, np.ndarray]], num_columns: int, path: Path) -> None:
    """Save `sheet` as a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows, num_columns).save(path, format="PNG", optimize=True)
