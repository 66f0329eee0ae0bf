"""Files of the viewer, read back as a browser would."""

import base64
import io
import json
import re
import zlib

import numpy as np
import pytest
from making_viewer import colour_of, images_xy, numbers_of
from PIL import Image

from atlas_pipeline.numerics.mosaic import icon_sides
from atlas_pipeline.viewer.grid_files import class_files, number_file, overview_files
from atlas_pipeline.viewer.layout_files import place_file
from atlas_pipeline.viewer.page_files import page_files, viewer_modules
from atlas_pipeline.viewer.scripts import packed, script
from atlas_pipeline.viewer.sprites import block_files, overview_px, sheet_files, sheet_px, soft_edges

CLASSES = ("ant", "bee", "cat")


def value(content):
    text = content.decode("ascii")
    assert text.startswith("atlas.receive(")
    assert text.endswith(");\n")
    return json.loads(text[len("atlas.receive(") : -len(");\n")])


def array(one):
    dtype = np.dtype(one["type"].lower()).newbyteorder("<")
    return np.frombuffer(zlib.decompress(base64.b64decode(one["data"])), dtype)


def image(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_arrays_come_back_and_other_dtypes_are_refused():
    for values in (np.arange(-3, 3, dtype=np.int8), np.array([[1, 70000]], dtype=np.uint32)):
        assert array(packed(values)).tolist() == values.ravel().tolist()
    with pytest.raises(ValueError, match="float64 cannot be packed"):
        packed([1.5])


def test_a_script_is_ascii_and_has_no_nan():
    assert value(script({"label": "</script>\u2028é"})) == {"label": "</script>\u2028é"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        script(float("nan"))


def test_the_numbers_of_a_grid_come_back():
    numbers = numbers_of(images_xy(0), 8, CLASSES)
    read = value(number_file(numbers))
    for name in ("row", "col", "count"):
        assert array(read[name]).tolist() == getattr(numbers, name).tolist()
    assert (read["cells"], read["activations"]) == (64, 400)
    assert array(read["side"]).tolist() == icon_sides(numbers.count, 255).tolist()
    assert np.abs(array(read["fidelity"]) / 10000 - numbers.measures["fidelity"]).max() < 1e-4
    top = array(read["top"]).reshape(64, read["numTop"])
    assert top.tolist() == np.argsort(-numbers.attribution, axis=1, kind="stable").tolist()
    back = array(read["topValue"]).reshape(64, -1) * read["topStep"]
    assert np.abs(back - np.take_along_axis(numbers.attribution, top.astype(int), 1)).max() < read["topStep"]


def test_every_class_is_in_one_file_and_comes_back_to_a_127th(monkeypatch):
    from atlas_pipeline.viewer import grid_files

    numbers = numbers_of(images_xy(0), 8, CLASSES)
    monkeypatch.setattr(grid_files, "LEVELS_A_FILE", 130)
    files = dict(class_files(numbers))
    assert list(files) == ["classes-0.js", "classes-1.js"]
    assert value(number_file(numbers))["classesAFile"] == 2
    for number, attribution in enumerate(numbers.attribution.T):
        read = value(files[f"classes-{number // 2}.js"])
        levels = array(read["levels"]).reshape(-1, 64)[number % 2] / 127
        most, least = read["most"][number % 2], read["least"][number % 2]
        back = np.where(levels > 0, levels * most, levels * least)
        assert np.abs(back - attribution).max() <= max(most, least) / 254 * 1.0001


def test_an_atlas_without_attributions_has_none_of_their_files():
    numbers = numbers_of(images_xy(0), 8, ())
    assert list(class_files(numbers)) == []
    assert "top" not in value(number_file(numbers))


def test_sheets_hold_every_icon_in_its_cell():
    rows, cols = np.array([16, 17, 31]), np.array([0, 20, 31])
    icons = np.stack(
        [np.full((32, 32, 3), colour_of(r, c, 32), np.uint8) for r, c in zip(rows, cols, strict=True)]
    )
    files = sheet_files("icons", icons, rows, cols, 32)
    assert set(files) == {"icons-1-0.js", "icons-1-0-low.js", "icons-1-1.js", "icons-1-1-low.js"}
    sheet = image(value(files["icons-1-1.js"]))
    assert sheet.shape == (512, 512, 3)
    assert np.abs(sheet[1 * 32 + 16, 4 * 32 + 16].astype(int) - colour_of(17, 20, 32)).max() < 8
    assert np.abs(sheet[15 * 32 + 16, 15 * 32 + 16].astype(int) - colour_of(31, 31, 32)).max() < 8
    assert sheet[200, 200].min() > 250
    assert image(value(files["icons-1-1-low.js"])).shape == (384, 384, 3)


def test_sheets_are_the_same_of_pictures_that_come_one_by_one():
    rows, cols = np.array([0, 0, 3]), np.array([1, 20, 2])
    icons = np.zeros((3, 40, 40, 3), np.uint8)
    icons[:, :20], icons[2, :, 20:] = 200, 100
    files = sheet_files("icons", (icon for icon in icons), rows, cols, 32)
    assert files == sheet_files("icons", icons, rows, cols, 32)
    shown = image(value(files["icons-0-0.js"]))[3 * 32 : 4 * 32, 2 * 32 : 3 * 32]
    corners = [int(shown[row, col].mean()) for row in (5, 27) for col in (5, 27)]
    assert corners == pytest.approx([200, 100, 0, 100], abs=8)


def test_the_overview_is_transparent_between_icons_and_shrinks_them_by_density():
    numbers = numbers_of(images_xy(0), 32, ())
    icons = [np.full((32, 32, 3), 200, np.uint8)] * len(numbers.row)
    files = overview_files(numbers, lambda: icons)
    density, full = (image(value(files[f"icons-overview-{name}.js"])) for name in ("density", "full"))
    px = overview_px(32, 32)
    assert density.shape == full.shape == (32 * px, 32 * px, 4)
    sides = icon_sides(numbers.count, px)
    assert full[..., 3].sum() == len(numbers.row) * soft_edges(px).sum(dtype=int)
    assert density[..., 3].sum() == sum(soft_edges(side).sum(dtype=int) for side in sides.tolist())


def test_icons_fade_at_their_edges_and_have_round_corners():
    edges = soft_edges(64).astype(int)
    assert (edges[32, 8:56] == 255).all()
    assert 0 < edges[32, 0] < edges[32, 1] < 255
    assert edges[0, 0] == edges[63, 63] == edges[1, 1] == 0
    assert (edges == edges.T).all()
    assert (edges == edges[::-1, ::-1]).all()
    assert soft_edges(1).tolist() == [[255]]


def test_blocks_hold_sixteen_crops_a_cell_with_their_origins():
    crops = np.zeros((2, 16, 8, 8, 3), np.uint8)
    crops[1, 6] = 250
    origins = [["a"] * 9, ["b"] * 9], [["c"] * 7, ["d"] * 7]
    files = block_files(crops, np.array([4, 5]), np.array([2, 9]), *origins)
    assert set(files) == {"block-1-0.js", "block-1-2.js"}
    block = value(files["block-1-2.js"])
    assert (block["at"], block["cells"], block["ranges"]) == ([[5, 9]], [["b"] * 9], [["d"] * 7])
    # Row 5 and column 9 are each the second of the block; crop 6 is the third in the second row.
    picture = image(block["picture"])
    assert picture[1 * 32 + 12, 1 * 32 + 20].min() > 235
    assert picture[1 * 32 + 12, 1 * 32 + 12].max() < 20


def test_places_are_those_of_known_images_with_rows_from_the_top():
    xy = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    read = value(place_file(xy, np.array([3, 4, 9]), np.array([1, 3, 9])))
    assert array(read["slot"]).tolist() == [1, 2]
    assert array(read["row"]).tolist() == [0, 65535]
    assert array(read["col"]).tolist() == [0, 65535]


def test_places_say_which_of_an_images_positions_they_are_of():
    xy = np.full((4, 2), 0.5)
    read = value(place_file(xy, np.array([3, 3, 4, 9]), np.array([3, 9]), np.array([0, 1, 0, 1])))
    assert array(read["slot"]).tolist() == [0, 0, 1]
    assert array(read["ordinal"]).tolist() == [0, 1, 1]


def test_icons_in_sheets_are_even_and_not_too_large():
    assert [sheet_px(side) for side in (1, 33, 64, 200)] == [2, 32, 64, 96]


def test_the_page_names_its_scripts_refuses_others_and_needs_no_network():
    files = page_files({"run": '<run> "x"'})
    html = files["index.html"].decode()
    names = re.findall(r'<script src="\./viewer/(\w+\.js)\?', html)
    assert names == ["viewer.js", "run.js"]
    assert {f"viewer/{name}" for name in (*names, "viewer.css")} == set(files) - {"index.html"}
    assert "<title>&lt;run&gt; &quot;x&quot;" in html
    assert "default-src 'none'" in html
    everything = b"".join(files.values()).decode()
    assert not re.search(r"https?:|innerHTML|insertAdjacent|eval\(|fetch\(|import |@import|url\(", everything)
    assert all(len(code.splitlines()) < 300 for code in viewer_modules().values())
