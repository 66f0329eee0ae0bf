"""Figures read back: what their PDFs say, with which letters, and where."""

import base64
import html
import io
import json
import re
import warnings
from itertools import combinations

import matplotlib
import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
import pytest
from fontTools.ttLib import TTFont
from hand_made import write_atlas
from PIL import Image

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure import FigureRequest, SheetRequest, save_figure
from atlas_pipeline.figure.arrangement import arrange, cell_side
from atlas_pipeline.figure.atlas_figure import draw_atlas
from atlas_pipeline.figure.map_panel import named_regions
from atlas_pipeline.figure.request import Loupe, Print, Region, parse_loupe, parse_region
from atlas_pipeline.figure.window import Window, loupe_window, window_of
from atlas_pipeline.reader import open_run


def text_of(path):
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 1
        return document[0].get_textpage().get_text_bounded().replace("\r\n", "\n")


def words_at(path):
    """Every text object of a PDF: its string and its box, points from the lower left."""
    with pypdfium2.PdfDocument(path) as document:
        page, found = document[0], []
        text = page.get_textpage()
        for thing in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_TEXT]):
            box = thing.get_bounds()
            found.append((text.get_text_bounded(*box).strip(), box))
        return found, page.get_size()


def drawn(run, path, **request):
    return save_figure(open_run(run), FigureRequest(layer="conv2", **request), path)


def test_text_can_be_selected_and_its_typeface_is_embedded(made_run, tmp_path):
    drawn(made_run(), tmp_path / "fig.pdf", loupes=(Loupe(0.5, 0.5),))
    text = text_of(tmp_path / "fig.pdf")
    for words in (
        "Activation atlas: conv2 of demo",
        "UMAP (20 neighbours, minimum distance 0.1, cosine; trustworthiness 0.951",
        "photos/train",
        "fingerprint feedfacefeedface",
        # A label with two dollar signs is no formula, one with markup no markup.
        "cost $5 or $6",
        "bee & <wasp>",
        "activations in a cell",
    ):
        assert words in " ".join(text.split()), words
    with pypdfium2.PdfDocument(tmp_path / "fig.pdf") as document:
        texts = list(document[0].get_objects(filter=[pdfium.FPDF_PAGEOBJ_TEXT]))
        fonts = [pdfium.FPDFTextObj_GetFont(one.raw) for one in texts]
        assert fonts
        assert all(pdfium.FPDFFont_GetIsEmbedded(font) for font in fonts)
    # As TrueType outlines: journals refuse Type 3.
    assert b"/FontFile2" in (tmp_path / "fig.pdf").read_bytes()
    assert b"/Type3" not in (tmp_path / "fig.pdf").read_bytes()


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


def test_the_same_figure_twice_is_the_same_file(made_run, tmp_path):
    folder = made_run()
    for suffix in ("pdf", "svg", "png"):
        for name in ("one", "two"):
            drawn(folder, tmp_path / f"{name}.{suffix}", size=Print(dpi=60))
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_nobodys_own_settings_of_matplotlib_change_a_figure(made_run, tmp_path, suffix):
    own = {
        "savefig.bbox": "tight", "savefig.facecolor": "black", "figure.facecolor": "black",
        "font.style": "italic", "image.resample": False, "text.antialiased": False,
    }  # fmt: skip
    folder, size = made_run(), Print(dpi=100)
    drawn(folder, tmp_path / f"plain.{suffix}", size=size)
    with matplotlib.rc_context(own):
        drawn(folder, tmp_path / f"own.{suffix}", size=size)
        assert {key: matplotlib.rcParams[key] for key in own} == own
    assert (tmp_path / f"own.{suffix}").read_bytes() == (tmp_path / f"plain.{suffix}").read_bytes()


def test_texts_of_ones_own_are_not_replaced(made_run, tmp_path):
    folder, figure = made_run(), tmp_path / "paper.pdf"
    for name in ("paper.bib", "paper-methods.md"):
        own = tmp_path / name
        own.write_text("@book{mine}")
        with pytest.raises(ConfigError, match=f"{name}' would be replaced") as error:
            drawn(folder, figure)
        assert "\n" not in str(error.value)
        assert own.read_text() == "@book{mine}"
        assert not figure.exists()
        own.unlink()
    # Ours are, by the figure of another layer.
    drawn(folder, figure)
    _, bibliography, methods = save_figure(open_run(folder), FigureRequest(layer="conv1"), figure)
    assert bibliography.read_text().startswith("% made by atlas figure")
    assert "layer `conv1`" in methods.read_text()


def test_an_svg_keeps_its_text(made_run, tmp_path):
    drawn(made_run(), tmp_path / "fig.svg", size=Print(dpi=60))
    svg = (tmp_path / "fig.svg").read_text()
    assert ">cost $5 or $6</text>" in svg
    assert "bee &amp; &lt;wasp&gt;" in svg
    assert "<image" in svg
    # Its typeface comes with it: every letter of the words, in a font of its own.
    fonts = re.findall(r"font-weight:(normal|bold);src:url\(data:font/ttf;base64,([^)]+)\)", svg)
    assert [weight for weight, _ in fonts] == ["normal", "bold"]
    words = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    for _, encoded in fonts:
        letters = TTFont(io.BytesIO(base64.b64decode(encoded))).getBestCmap()
        assert {ord(c) for c in html.unescape(words)} <= set(letters)


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


def test_every_citation_of_the_methods_is_in_the_bibliography(made_run, tmp_path):
    figure, bibliography, methods = drawn(made_run(), tmp_path / "fig.pdf")
    assert [p.name for p in (figure, bibliography, methods)] == ["fig.pdf", "fig.bib", "fig-methods.md"]
    entries = set(re.findall(r"^@\w+\{(\w+),", bibliography.read_text(), re.MULTILINE))
    cited = set(re.findall(r"@(\w+)", methods.read_text()))
    assert {"carter2019atlas", "mcinnes2018umap", "atlaspipeline", "model"} <= cited
    assert cited == entries
    assert bibliography.read_text().count("{") == bibliography.read_text().count("}")


def test_every_named_region_contains_its_anchor_and_is_of_its_class(made_run):
    atlas = open_run(made_run()).atlas("conv2", grid=12)
    regions = named_regions(atlas, Window(0, 0, 12, 12), 5)
    assert sorted(region.name for region in regions) == ["ant", "bee & <wasp>", "cost $5 or $6"]
    names = atlas.cells.set_index(["row", "col"])["label"]
    for region in regions:
        assert list(region.anchor) in region.cells.tolist()
        assert {names[tuple(cell)] for cell in region.cells.tolist()} == {region.name}


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
        # 135 mm beside the legends: 3.4 mm a cell of 40, 2.8 of 48.
        ({}, 40),
        # Two loupes beside it leave less width, and are as wide as they can be.
        ({"loupes": (Loupe(0.5, 0.5), Loupe(0.3, 0.5))}, 40),
        ({"size": Print(width_mm=420)}, 48),
        # 81 mm in all, the legends below.
        ({"size": Print(width_mm=85)}, 12),
        # A strip as tall as the map: 215 mm are the most that it may be.
        ({"region": Region(0.4, 0, 0.5, 1)}, 48),
        # A tenth of it: every grid is legible.
        ({"region": Region(0.45, 0.45, 0.55, 0.55)}, 80),
    ):
        assert grid_drawn(folder, num_labels=0, **options) == grid, options


def test_the_map_is_never_wider_than_its_page():
    whole = Window(0, 0, 320, 320)
    with pytest.raises(ConfigError, match=r"of 320 x 320 cells each has less than a pixel .* coarser"):
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
    assert "-0.9 0 +0.9" in text
    drawn(made_run(), tmp_path / "fig.pdf", view="class-cost-5-or-6")
    assert "Class atlas of cost $5 or $6: conv2 of demo" in text_of(tmp_path / "fig.pdf")


def test_a_negative_class_atlas_says_that_it_speaks_against_its_class(made_run, tmp_path):
    folder = made_run()
    view = "class-cost-5-or-6-negative"
    write_atlas(folder, "conv2", view, 6, False, True)
    path = folder / "conv2" / view / "atlas-6.json"
    document = json.loads(path.read_text())
    for cell in document["cells"]:
        # The class is not among those that a cell speaks for: of such an atlas that is the rule.
        cell["classes"] = [of for of in cell["classes"] if of["index"] != 2]
    path.write_text(json.dumps(document))
    written = drawn(folder, tmp_path / "fig.pdf", view=view)
    text = " ".join(text_of(written[0]).split())
    assert "Class atlas against cost $5 or $6: conv2 of demo" in text
    assert "that speak against cost $5 or $6, laid out by" in text
    assert "speak for" not in text
    assert "of lowest attribution to it" in written[2].read_text()
    save_figure(open_run(folder), SheetRequest(kind="classes"), tmp_path / "sheet.pdf")
    lines = [line.strip() for line in text_of(tmp_path / "sheet.pdf").splitlines()]
    assert {"cost $5 or $6", "against cost $5 or $6"} <= set(lines)
    assert r"against cost \$5 or \$6 (" in (tmp_path / "sheet-methods.md").read_text()


def test_sheets_show_every_layer_and_every_class(made_run, tmp_path):
    run = open_run(made_run())
    save_figure(run, SheetRequest(kind="layers"), tmp_path / "layers.pdf")
    save_figure(run, SheetRequest(kind="classes"), tmp_path / "classes.pdf")
    lines = text_of(tmp_path / "layers.pdf").splitlines()
    assert {"conv1", "conv2"} <= {line.strip() for line in lines}
    assert "cost $5 or $6" in text_of(tmp_path / "classes.pdf")
    methods = (tmp_path / "layers-methods.md").read_text()
    assert "of layer `conv1`" in methods
    assert "Made alike, each with a layout of its own: `conv2` (" in methods


def test_a_sheet_of_aligned_layers_says_so(made_run, tmp_path):
    folder = made_run()
    save_figure(open_run(folder), SheetRequest(kind="layers"), tmp_path / "apart.pdf")
    for path in folder.rglob("atlas-*.json"):
        document = json.loads(path.read_text())
        document["provenance"]["inputs"]["project"]["config"]["aligned"] = {"layer": 0, "num_layers": 2}
        path.write_text(json.dumps(document))
    save_figure(open_run(folder), SheetRequest(kind="layers"), tmp_path / "together.pdf")
    apart, together = (" ".join(text_of(tmp_path / f"{name}.pdf").split()) for name in ("apart", "together"))
    assert "each with a map of its own" in apart
    assert "each by itself" in apart
    assert "laid out together" in together
    assert "cosine, 2 layers together);" in together


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


def test_labels_of_any_letters_are_drawn_or_called_by_their_number(made_run, tmp_path):
    folder = made_run()
    for path in folder.rglob("atlas-*.json"):
        text = path.read_text().replace('"ant"', json.dumps("\U0001f40c" * 3)).replace('"dog"', '"x"')
        path.write_text(text.replace("bee & <wasp>", "a very long name " * 20 + "\\n\\t" + "ب"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(folder, tmp_path / "fig.pdf")
    text = text_of(tmp_path / "fig.pdf")
    assert "class 0" in text
    assert "a very long name" in text
    assert "…" in text


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
