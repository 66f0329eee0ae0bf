"""The atlas picture, made in bands from the top, with the axis and caption below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from atlas_pipeline.document.provenance import random_weights_caption
from atlas_pipeline.engine.stage import Job, Runtime
from atlas_pipeline.numerics.mosaic import drawn_sides, icon_px_within, mosaic_band
from atlas_pipeline.pictures.axis_figure import axis_strip
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.pictures.figures import caption_strip
from atlas_pipeline.pictures.ordered_map import ordered_map
from atlas_pipeline.pictures.png_codec import over_ground, picture_of

# Largest size of a band in bytes of pixels and in cells. A few bands are in memory at once.
BAND_BYTES, BAND_CELLS = 1 << 23, 1 << 10
_LARGE_PICTURE_BYTES = 10**9
# Bytes per pixel of a file, including the levels of its pyramid: the worst case for PNG, measured for others.
_PIXEL_BYTES = {"png": 4, "jpg": 1, "webp": 1}


@dataclass(frozen=True, slots=True)
class AtlasPicture:
    """A picture that is never in memory as a whole.

    Attributes: width, height: pixels. bands: (rows, width, 3) uint8 each, from the top; an iterator, so they
                can be read once.
    """

    width: int
    height: int
    bands: Iterator[np.ndarray]


def atlas_picture(job: Job, icon_px: int, runtime: Runtime) -> AtlasPicture:
    """The icons of a grid in their cells, with the axis of a comparison and the caption of random weights.

    Args:
        job: its inputs are bin, invert and, for a comparison, select; its config has model, grid, scale
            and axis.
        icon_px: side of a cell.
        runtime: gives the number of threads, and receives the progress in cells.
    """
    width = int(job.config.grid) * icon_px
    strips = []
    if job.config.axis is not None:
        left, right = job.config.axis
        strips.append(axis_strip(width, left, right, job.inputs.select.notes["scale"]))
    if caption := random_weights_caption(job):
        strips.append(caption_strip(width, caption))
    bands = chain(_mosaic_bands(job, icon_px, runtime), *(_cut(strip) for strip in strips))
    return AtlasPicture(width, width + sum(len(strip) for strip in strips), bands)


def _cut(strip: np.ndarray) -> Iterator[np.ndarray]:
    rows_at_once = max(1, BAND_BYTES // strip[0].nbytes)
    return (strip[start : start + rows_at_once] for start in range(0, len(strip), rows_at_once))


def picture_bytes(grid: int, icon_px: int, file_format: str) -> int:
    """Disk space of a large picture and its pyramid, in the cache plus the run folder; 0 if it is small."""
    side_px = grid * icon_px_within(grid, icon_px)
    num_bytes = 2 * side_px**2 * _PIXEL_BYTES[file_format]
    return num_bytes if num_bytes > _LARGE_PICTURE_BYTES else 0


def num_threads(runtime: Runtime) -> int:
    """Number of threads that make a picture."""
    return max(1, runtime.workers or 1)


def _mosaic_bands(job: Job, icon_px: int, runtime: Runtime) -> Iterator[np.ndarray]:
    cells, grid = job.inputs.bin.read(["row", "col", "count"]), int(job.config.grid)
    rows, cols = (cells[name].to_numpy() for name in ("row", "col"))
    sides = drawn_sides(cells["count"].to_numpy(), icon_px, job.config.scale)
    cells_at_once = min(BAND_CELLS, BAND_BYTES // (icon_px**2 * 3))
    rows_at_once = max(1, cells_at_once // grid)

    def band(grid_rows: range) -> tuple[int, np.ndarray]:
        # Cells are in reading order, so the cells of a range of grid rows are a range of table rows.
        first, last = np.searchsorted(rows, [grid_rows.start, grid_rows.stop]).tolist()
        pngs = job.inputs.invert.rows(first, last, ["icon"])["icon"].to_pylist()
        icons = (over_ground(picture_of(png)[None], PAPER)[0] for png in pngs)
        here = slice(first, last)
        return last - first, mosaic_band(
            icons, rows[here], cols[here], sides[here], grid, icon_px, grid_rows, PAPER
        )

    ranges = (range(r, min(r + rows_at_once, grid)) for r in range(0, grid, rows_at_once))
    for num_cells, picture in ordered_map(band, ranges, num_threads(runtime)):
        runtime.advance(num_cells)
        yield picture
