"""Deep Zoom tiles join to the picture, and each level is half the size of the next."""

import io
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.pictures.pyramid import OVERLAP_PX, TILE_PX, dzi, level_sizes, tile_files, tiles


def noise(width, height):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bands_of(picture, rows=100):
    return [picture[start : start + rows] for start in range(0, len(picture), rows)]


def levels_of(picture, rows=100):
    """Join the tiles of each level, {level: pixels}; overlapping pixels must agree."""
    height, width, _ = picture.shape
    sizes = level_sizes(width, height)
    made = {level: np.full((h, w, 3), -1, int) for level, (w, h) in enumerate(sizes)}
    for tile in tiles(bands_of(picture, rows), width, height):
        top, left = (max(0, n * TILE_PX - OVERLAP_PX) for n in (tile.row, tile.col))
        there = made[tile.level][top : top + tile.pixels.shape[0], left : left + tile.pixels.shape[1]]
        assert there.shape == tile.pixels.shape
        assert ((there == -1) | (there == tile.pixels)).all()
        there[:] = tile.pixels
    return made


def halved(picture):
    """Halve by a plain loop: means of 2 x 2 pixels, with the last row or column of an odd number repeated."""
    height, width, _ = picture.shape
    half = np.empty((math.ceil(height / 2), math.ceil(width / 2), 3), int)
    for y in range(len(half)):
        for x in range(half.shape[1]):
            ys, xs = [2 * y, min(2 * y + 1, height - 1)], [2 * x, min(2 * x + 1, width - 1)]
            total = sum(picture[a, b].astype(int) for a in ys for b in xs)
            half[y, x] = (total + 2) // 4
    return half


@pytest.mark.parametrize("size", [(1, 1), (254, 254), (255, 255), (256, 509), (600, 301), (3, 700)])
def test_there_are_as_many_levels_as_the_format_says(size):
    sizes = level_sizes(*size)
    assert len(sizes) == math.ceil(math.log2(max(size))) + 1
    assert sizes[0] == (1, 1)
    assert sizes[-1] == size


@pytest.mark.parametrize(("width", "height"), [(600, 301), (255, 509), (254, 762), (1, 3), (513, 2)])
def test_the_levels_are_the_picture_and_its_halves(width, height):
    picture = noise(width, height)
    made = levels_of(picture)
    wanted = picture
    for level in sorted(made, reverse=True):
        np.testing.assert_array_equal(made[level], wanted)
        wanted = halved(wanted)


@pytest.mark.parametrize("rows", [1, 7, 254, 1000])
def test_tiles_do_not_depend_on_the_bands(rows):
    picture = noise(300, 600)
    for level, wanted in levels_of(picture).items():
        np.testing.assert_array_equal(levels_of(picture, rows)[level], wanted)


def test_tiles_at_the_edges_are_as_large_as_what_is_left():
    sizes = {
        (tile.col, tile.row): tile.pixels.shape[:2]
        for tile in tiles(bands_of(noise(600, 301)), 600, 301)
        if tile.level == 10
    }
    # 600 = 254 + 254 + 92 and 301 = 254 + 47; each neighbour adds one pixel.
    assert sizes == {
        (0, 0): (255, 255),
        (1, 0): (255, 256),
        (2, 0): (255, 93),
        (0, 1): (48, 255),
        (1, 1): (48, 256),
        (2, 1): (48, 93),
    }


@pytest.mark.parametrize("tile_format", ["jpg", "png", "webp"])
def test_every_format_is_what_its_name_says(tile_format):
    files = dict(tile_files(bands_of(noise(300, 10)), 300, 10, tile_format, num_threads=3))
    assert len(files) == sum(math.ceil(w / TILE_PX) for w, _ in level_sizes(300, 10))
    opened = Image.open(io.BytesIO(files[f"9/1_0.{tile_format}"]))
    assert opened.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[tile_format]
    assert opened.size == (300 - TILE_PX + OVERLAP_PX, 10)
    assert files == dict(tile_files(bands_of(noise(300, 10)), 300, 10, tile_format))


def test_the_xml_says_size_and_tiles():
    (root,) = [ElementTree.fromstring(dzi(600, 301, "jpg", "mixed4 <b> -- RANDOM ---->"))]
    name = "{http://schemas.microsoft.com/deepzoom/2008}"
    assert root.tag == f"{name}Image"
    assert root.attrib == {"Format": "jpg", "Overlap": str(OVERLAP_PX), "TileSize": str(TILE_PX)}
    assert root.find(f"{name}Size").attrib == {"Width": "600", "Height": "301"}


def test_bands_that_do_not_add_up_to_the_picture_are_refused():
    for picture in (noise(30, 9), noise(30, 11), noise(29, 10)):
        with pytest.raises(ValueError, match="the picture"):
            list(tiles([picture], 30, 10))
