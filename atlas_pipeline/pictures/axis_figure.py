"""The axis under the picture of a class comparison: the class name at each end, and a scale in logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from atlas_pipeline.pictures.lettering import INK, MUTED, canvas, one_line, signed, write


def axis_strip(width: int, left: str, right: str, scale: float) -> NDArray[np.uint8]:
    """The x axis of a comparison, to be placed under its picture.

    Args:    width: of the picture, pixels; the axis spans it. left, right: names of the classes. scale: value
             at the right end, logits: attribution to the right class minus attribution to the left.
    Returns: (height, width, 3) uint8; the height is about an eighth of the width.
    """
    size = max(11.0, width / 42)
    strip = canvas(width, round(size * 5.1))
    draw, line, margin = ImageDraw.Draw(strip), round(size * 0.9), round(size * 0.5)
    thick = max(1, round(size / 9))
    draw.line((margin, line, width - margin, line), fill=INK, width=thick)
    head = size * 0.34
    for tip, back in ((0, margin + head), (width - 1, width - 1 - margin - head)):
        draw.polygon([(tip, line), (back, line - head), (back, line + head)], fill=INK)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = share * (width - 1)
        if 0 < share < 1:
            draw.line((x, line - head, x, line + head), fill=INK, width=thick)
        value = scale * (2 * share - 1)
        align = {0.0: "left", 1.0: "right"}.get(share, "middle")
        write(strip, (x, line + size * 1.1), signed(value), size * 0.8, MUTED, align)
    names = line + size * 2.55
    room = width * 0.48
    write(strip, (0, names), one_line(left, size * 1.25, room), size * 1.25, INK)
    write(strip, (width - 1, names), one_line(right, size * 1.25, room), size * 1.25, INK, "right")
    words = f"attribution to {right} minus attribution to {left}, logits"
    write(
        strip, (width / 2, line + size * 3.7), one_line(words, size * 0.8, width), size * 0.8, MUTED, "middle"
    )
    return np.asarray(strip)
