"""Content of a figure: words, regions, loupes and grids; refused requests."""

import re
from itertools import combinations, cycle

import numpy as np
import pandas as pd
import pytest
from drawn_figures import drawn, text_of, words_at
from hand_made import write_atlas
from PIL import Image

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure import FigureRequest, SheetRequest, save_figure
from atlas_pipeline.figure.arrangement import TAG_HEIGHT, TAG_WIDTH, arrange, cell_side
from atlas_pipeline.figure.atlas_figure import draw_atlas
from atlas_pipeline.figure.map_panel import corner, named_regions, occupied, place_names
from atlas_pipeline.figure.pictures import tick_texts
from atlas_pipeline.figure.request import Loupe, Print, Region, parse_loupe, parse_region
from atlas_pipeline.figure.sheet import draw_sheet
from atlas_pipeline.figure.side_panels import class_words, loupe_lines
from atlas_pipeline.figure.window import Window, loupe_window, window_of
from atlas_pipeline.reader import open_run


def test_a_figure_is_as_wide_as_asked_and_all_words_are_on_the_page(made_run, tmp_path):
    for width in (85.0, 180.0):
        drawn(made_run(), tmp_path / "fig.pdf", size=Print(width_mm=width), loupes=(Loupe(0.4, 0.6, 2),))
        words, (page_width, page_height) = words_at(tmp_path / "fig.pdf")
        assert page_width == pytest.approx(width / 25.4 * 72, abs=0.01)
        for word, (left, bottom, right, top) in words:
            assert left >= 0, word
            assert bottom >= 0, word
            assert right <= page_width, word
            assert top <= page_height, word


def test_no_two_words_lie_on_each_other(made_run, tmp_path):
    drawn(made_run(), tmp_path / "fig.pdf", loupes=(Loupe(0.5, 0.5), Loupe(0.3, 0.4, 2)))
    words, _ = words_at(tmp_path / "fig.pdf")
    for (one, a), (other, b) in combinations(words, 2):
        shared = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        assert not (shared > 0.5).all(), (one, other)


def test_icons_keep_their_colours_in_a_png(made_run, tmp_path):
    drawn(made_run(), tmp_path / "fig.png", num_labels=0, size=Print(dpi=100))
    with Image.open(tmp_path / "fig.png") as picture:
        assert picture.width == int(180 / 25.4 * 100)
        assert "feedface" in picture.text["Provenance"]
        shown = {tuple(c) for c in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}
    cells = open_run(made_run()).atlas("conv2", grid=12).cells
    for cell in cells.itertuples():
        assert (40 + 10 * cell.row, 40 + 10 * cell.col, 128) in shown


@pytest.mark.parametrize("dpi", [72, 130])
def test_no_line_outgrows_a_coarse_png(made_run, tmp_path, dpi):
    drawn(made_run(), tmp_path / "fig.png", num_labels=0, size=Print(dpi=dpi))
    with Image.open(tmp_path / "fig.png") as picture:
        margin = np.asarray(picture.convert("L"))[:, -int(1.5 / 25.4 * dpi) :]
    assert margin.min() == 255


def test_random_weights_are_said_in_figure_and_methods(made_run, tmp_path):
    folder = made_run(random_weights=True)
    written = drawn(folder, tmp_path / "fig.pdf")
    assert "RANDOM WEIGHTS: nobody trained this network" in text_of(tmp_path / "fig.pdf")
    assert "RANDOM WEIGHTS: nobody trained this network" in written[2].read_text()
    save_figure(open_run(folder), SheetRequest(kind="layers"), tmp_path / "sheet.pdf")
    assert "RANDOM WEIGHTS: nobody trained this network" in text_of(tmp_path / "sheet.pdf")


def test_every_named_region_contains_its_anchor_and_is_of_its_class(made_run):
    atlas = open_run(made_run()).atlas("conv2", grid=12)
    regions = named_regions(atlas, Window(0, 0, 12, 12), 5)
    assert sorted(region.name for region in regions) == ["ant", "bee & <wasp>", "cost $5 or $6"]
    names = atlas.cells.set_index(["row", "col"])["label"]
    for region in regions:
        assert list(region.anchor) in region.cells.tolist()
        assert {names[tuple(cell)] for cell in region.cells.tolist()} == {region.name}


def test_regions_of_one_class_have_their_name_once(made_run):
    atlas = open_run(made_run()).atlas("conv2", grid=12)
    cells = atlas.cells
    # A column of class 2 cuts the left half, of class 0, in two: the right part is the larger one.
    divides = cells["col"] == 2
    atlas.__dict__["cells"] = cells.assign(
        class_index=np.where(divides, 2, cells["class_index"]),
        label=np.where(divides, "cost $5 or $6", cells["label"]),
    )
    regions = named_regions(atlas, Window(0, 0, 12, 12), 5)
    assert sorted(region.name for region in regions) == ["ant", "bee & <wasp>", "cost $5 or $6"]
    (ant,) = [region for region in regions if region.name == "ant"]
    assert ant.cells[:, 1].min() == 3
    assert len(named_regions(atlas, Window(0, 0, 12, 12), 2)) == 2


def test_labels_lie_neither_on_icons_nor_on_loupes(made_run):
    atlas = open_run(made_run()).atlas("conv2", grid=12)
    whole, loupes = Window(0, 0, 12, 12), [Window(8, 0, 4, 4), Window(0, 8, 4, 4)]
    layout = arrange(180, 300, whole, loupes, 12, 5)
    lines = loupe_lines(loupes, whole, layout).reshape(-1, 2, 2)
    labels = place_names(atlas, whole, layout, named_regions(atlas, whole, 5), loupes, lines, 180)
    assert len(labels) == 3
    squares = [(row, col, 1) for row, col in atlas.cells[["row", "col"]].to_numpy().tolist()]
    for row, col, cells in (*squares, *((loupe.top, loupe.left, loupe.rows) for loupe in loupes)):
        left, top = corner(row, col, whole, layout)
        side = cells * layout.cell
        for label in labels:
            box = label.box
            assert (
                box.right <= left + 0.01
                or box.left >= left + side - 0.01
                or box.bottom <= top + 0.01
                or box.top >= top + side - 0.01
            ), (label.region.name, row, col)
    # A map without free ground names nothing, and its caption does not speak of outlines.
    packed = Window(4, 4, 4, 4)
    layout = arrange(180, 300, packed, [], 12, 5)
    wide = layout.map.right + 2
    assert place_names(atlas, packed, layout, named_regions(atlas, packed, 5), [], lines[:0], wide) == []


def test_the_letter_of_a_small_loupe_takes_its_own_place(made_run):
    """It is wider than the loupe's frame, which is one narrow cell beside the island."""
    folder = made_run()
    write_atlas(folder, "conv2", "all", 48, False, True)
    atlas, whole, loupe = open_run(folder).atlas("conv2", grid=48), Window(0, 0, 48, 48), Window(0, 0, 1, 1)
    layout = arrange(85, 300, whole, [loupe], 12, 5)
    assert layout.cell < TAG_WIDTH < 2 * layout.cell
    area = (layout.map.left, layout.map.top, layout.map.right, layout.map.bottom)
    taken, free = (occupied(atlas, whole, layout, area, loupes) for loupes in ([loupe], []))
    rows, columns = np.nonzero(taken - free)
    steps = np.array(taken.shape) / [layout.map.height, layout.map.width]
    assert rows.max() + 1 == pytest.approx(TAG_HEIGHT * steps[0], abs=1)
    assert columns.max() + 1 == pytest.approx(TAG_WIDTH * steps[1], abs=1)


def test_a_caption_speaks_of_outlines_only_if_there_are_some(made_run):
    run = open_run(made_run())
    for request, is_said in (({}, True), ({"num_labels": 0}, False)):
        _, _, caption = draw_atlas(run, FigureRequest(layer="conv2", **request))
        assert ("Outlined" in caption) == is_said


def deepest(text):
    """How deep brackets are nested in a text."""
    depth = most = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        most = max(most, depth)
    return most


def test_brackets_in_captions_are_not_nested(made_run):
    run = open_run(made_run(random_weights=True))
    for view in ("all", "class-cost-5-or-6", "compare-ant-dog"):
        _, _, caption = draw_atlas(run, FigureRequest(layer="conv2", view=view))
        assert "(RANDOM WEIGHTS, seed 0)" in caption
        assert deepest(caption) == 1
    assert deepest(draw_sheet(run, SheetRequest(kind="layers"))[2]) == 1


def test_a_range_in_a_caption_has_two_ends(made_run):
    """The layers of the hand-made run have equally many icons, and one fidelity."""
    _, _, caption = draw_sheet(open_run(made_run()), SheetRequest(kind="layers"))
    assert not re.search(r"\b(\S+) to \1\b", caption)
    assert re.search(r"grids; \d+ icons, each", caption)


def test_a_folder_with_brackets_nests_none(made_run):
    folder = made_run()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("photos/train", "photos/train (1)"))
    _, _, caption = draw_atlas(open_run(folder), FigureRequest(layer="conv2"))
    assert "images (photos/train [1]), laid out" in caption
    assert deepest(caption) == 1


@pytest.mark.parametrize(
    ("values", "whole", "texts"),
    [
        ((0, 474, 118.9), True, ["0", "474", "119"]),
        ((0, 1, 0.25), True, ["0", "1", None]),
        ((0, 12_000, 3000), True, ["0", "12,000", "3,000"]),
        ((0.95, 0.99, 0.97), False, ["0.95", "0.99", "0.97"]),
        ((0.971, 0.974, 0.9726), False, ["0.971", "0.974", "0.973"]),
        ((1.0, 1.0, 1.0), False, ["1.00", None, None]),
    ],
)
def test_numbers_at_a_colour_bar_have_no_repeats(values, whole, texts):
    assert tick_texts(values, whole=whole) == texts


def test_a_colour_bar_of_counts_up_to_one_has_its_ends_alone(made_run, tmp_path):
    folder = made_run()
    document = folder / "conv2" / "all" / "atlas-12.json"
    document.write_text(re.sub(r'"count":\d+', '"count":1', document.read_text()))
    drawn(folder, tmp_path / "fig.pdf", num_labels=0)
    found, _ = words_at(tmp_path / "fig.pdf")
    words = [word for word, _ in found]
    assert (words.count("0"), words.count("1")) == (1, 1)


@pytest.mark.parametrize(
    ("counts", "legend"),
    [([3, 10, 40, 40, 40], ["3", "10", "≥ 40"]), ([4, 34, 64], ["4", "≥ 34"]), ([10, 20], []), ([20], [])],
)
def test_the_legend_of_sizes_has_no_repeats(made_run, tmp_path, counts, legend):
    folder = made_run()
    document = folder / "conv2" / "all" / "atlas-12.json"
    each = cycle(counts)
    document.write_text(re.sub(r'"count":\d+', lambda _: f'"count":{next(each)}', document.read_text()))
    drawn(folder, tmp_path / "fig.pdf", num_labels=0)
    text = text_of(tmp_path / "fig.pdf")
    assert ("icon size" in text) == bool(legend)
    if legend:
        after = text.split("icon size: activations")[1].split()
        assert " ".join(after)[: len(" ".join(legend))] == " ".join(legend)


def test_words_without_room_are_shortened_not_cut(made_run, tmp_path):
    request = {"size": Print(width_mm=85), "measure": "coherence", "loupes": (Loupe(0.5, 0.9, 2),)}
    drawn(made_run(), tmp_path / "fig.pdf", **request)
    beside_caption = text_of(tmp_path / "fig.pdf").partition("Activation atlas: conv2 of demo (")[0]
    assert "…" not in beside_caption
    assert "coherence" in beside_caption
    assert "bee & <wasp>" in beside_caption


def test_a_region_is_rounded_out_to_whole_cells(made_run):
    atlas = open_run(made_run()).atlas("conv2", grid=12)
    assert window_of(atlas, Region(0.25, 0.5, 0.5, 1.0)) == Window(0, 3, 6, 3)
    assert window_of(atlas, Region(0.26, 0.51, 0.49, 0.99)) == Window(0, 3, 6, 3)
    assert window_of(atlas, Region(0.25, 0.5, 0.5, 1.0)).region(12) == Region(0.25, 0.5, 0.5, 1.0)


def grid_drawn(run, **request):
    _, (facts,), _ = draw_atlas(open_run(run), FigureRequest(layer="conv2", **request))
    return facts.atlas.grid


def test_the_default_grid_is_the_finest_whose_icons_are_3_mm_wide_on_their_map(made_run):
    folder = made_run()
    for grid in (40, 48, 80):
        write_atlas(folder, "conv2", "all", grid, False, True)
    for options, grid in (
        # 135 mm beside the legends: a cell is 3.4 mm wide at grid 40, 2.8 mm at grid 48.
        ({}, 40),
        # Two loupes beside the map reduce its width; they are as wide as possible.
        ({"loupes": (Loupe(0.5, 0.5), Loupe(0.3, 0.5))}, 40),
        ({"size": Print(width_mm=420)}, 48),
        # 81 mm in total, with the legends below.
        ({"size": Print(width_mm=85)}, 12),
        # A strip of the full height of the map, which is at most 215 mm.
        ({"region": Region(0.4, 0, 0.5, 1)}, 48),
        # A tenth of the map: every grid is legible.
        ({"region": Region(0.45, 0.45, 0.55, 0.55)}, 80),
    ):
        assert grid_drawn(folder, num_labels=0, **options) == grid, options


def test_the_map_is_never_wider_than_its_page():
    whole = Window(0, 0, 320, 320)
    with pytest.raises(ConfigError, match=r"each of the 320 x 320 cells has less than a pixel .* coarser"):
        arrange(85, 72, whole, [], 12, 5)
    for width in (60, 85, 119, 120, 180, 420):
        made = arrange(width, 300, whole, [], 12, 5)
        assert made.map.right <= width - 2
        assert made.map.height <= 215
        assert made.cell == cell_side(width, 300, whole, 0) > 0


def test_a_loupe_stays_on_the_map(made_run):
    atlas = open_run(made_run()).atlas("conv2", grid=12)
    whole = window_of(atlas, None)
    assert loupe_window(atlas, Loupe(0.54, 0.54, 3), whole) == Window(4, 5, 3, 3)
    assert loupe_window(atlas, Loupe(0.5, 0.0, 4), whole) == Window(8, 5, 4, 4)


def test_a_comparison_has_its_axis_and_a_class_its_name(made_run, tmp_path):
    drawn(made_run(), tmp_path / "fig.pdf", view="compare-ant-dog", size=Print(width_mm=85))
    text = " ".join(text_of(tmp_path / "fig.pdf").split())
    assert "attribution to dog minus attribution to ant, logits" in text
    assert "−0.9 0 +0.9" in text
    drawn(made_run(), tmp_path / "fig.pdf", view="class-cost-5-or-6")
    assert "Class atlas of cost $5 or $6: conv2 of demo" in text_of(tmp_path / "fig.pdf")


def test_what_cannot_be_drawn_is_refused(made_run, tmp_path):
    run = made_run(classes=False)
    for words, request in (
        ("outside the map", {"region": Region(0.5, 0.5, 1.5, 1.5)}),
        ("holds no icon; the nearest is at", {"region": Region(0, 0, 0.05, 0.05)}),
        ("outside the region", {"region": Region(0.5, 0.5, 1, 1), "loupes": (Loupe(0.2, 0.2),)}),
        ("larger than what is shown", {"loupes": (Loupe(0.5, 0.5, 13),)}),
        ("--labels needs attributions", {"num_labels": 3}),
        ("no consistency", {"measure": "consistency"}),
        ("nearest: 'compare-ant-dog'", {"view": "compare-ant-do"}),
    ):
        with pytest.raises(ConfigError, match=words) as error:
            drawn(run, tmp_path / "fig.pdf", **request)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=r"'\.gif' is none of \.pdf, \.svg, \.png"):
        drawn(run, tmp_path / "fig.gif")
    with pytest.raises(ConfigError, match="--width-mm 20"):
        Print(width_mm=20)
    assert not list(tmp_path.glob("fig*"))


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0.5,0.5,0.2,0.9", "0,0,nan,1", ""])
def test_a_region_that_is_none(text):
    with pytest.raises(ConfigError, match="--region"):
        parse_region(text)


@pytest.mark.parametrize("text", ["1", "0.5,0.5,0", "0.5,0.5,2.5", "x,y"])
def test_a_loupe_that_is_none(text):
    with pytest.raises(ConfigError, match="--loupe"):
        parse_loupe(text)
    assert parse_loupe("0.25,0.5,4") == Loupe(0.25, 0.5, 4)


def test_loupes_stand_near_what_they_enlarge_and_over_nothing_else():
    whole = Window(0, 0, 40, 40)
    for rows, order in (((2, 30), "aLb"), ((2, 8), "abL"), ((28, 34), "Lab")):
        loupes = [Window(row, 30, 4, 4) for row in rows]
        made = arrange(180, 300, whole, loupes, 12, 5)
        names = sorted([*zip("ab", made.loupes, strict=True), ("L", made.colours)], key=lambda of: of[1].top)
        assert "".join(name for name, _ in names) == order
        boxes = [*made.loupes, made.colours, made.sizes]
        for one, other in combinations(sorted(boxes, key=lambda box: box.top), 2):
            assert one.bottom <= other.top
        assert made.foot >= max(made.map.bottom, *(box.bottom for box in boxes))


def test_a_loupe_has_a_class_s_bare_name_only_if_most_activations_agree():
    cells = pd.DataFrame(
        {"label": ["cat", "cat", "dog"], "count": [40, 20, 40], "consistency": [1.0, 1.0, 1.0]}
    )
    assert class_words(cells) == ["mostly cat", "cat"]
    # Three in five lie in cells of cats, but only two in five agree on cat.
    assert class_words(cells.assign(consistency=[0.5, 1.0, 0.4])) == ["most often cat", "often cat", ""]
    assert class_words(cells.drop(columns="consistency")) == ["mostly cat", "cat"]
    assert class_words(cells.assign(label=None)) == []
