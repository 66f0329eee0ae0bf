import io
import subprocess
import sys
import warnings
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from PIL import Image

from atlas_pipeline.pictures import lettering, typefaces
from atlas_pipeline.pictures import overview as sheets
from atlas_pipeline.pictures.figures import density_figure, png_bytes, scatter_figure, with_caption
from atlas_pipeline.pictures.layout_pictures import density, density_map, scatter_plot
from atlas_pipeline.pictures.lettering import ALARM, one_line, plain, width_px, wrapped
from atlas_pipeline.pictures.overview import Panel, max_panels, overview

XY = np.random.default_rng(0).random((400, 2))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_png_comes_back_with_its_pixels_and_its_provenance():
    picture = noise(7, 9)
    text = {"provenance": '{"seed": 0}', "layer": "mixed4 – é 日本"}
    opened = Image.open(io.BytesIO(png_bytes(picture, text)))
    np.testing.assert_array_equal(np.asarray(opened), picture)
    assert opened.text == text


def test_the_same_picture_gives_the_same_bytes():
    assert png_bytes(noise(5, 5), {"a": "b"}) == png_bytes(noise(5, 5), {"a": "b"})


@pytest.mark.parametrize("keyword", ["", "x" * 80, " layer", "a\nb"])
def test_keywords_that_png_does_not_allow_are_refused(keyword):
    with pytest.raises(ValueError, match="cannot be a PNG keyword"):
        png_bytes(noise(2, 2), {keyword: "value"})


def test_very_large_letters_are_as_wide_as_others_and_cost_no_more():
    assert width_px("RANDOM WEIGHTS", 301) == pytest.approx(
        width_px("RANDOM WEIGHTS", 299) * 301 / 299, rel=0.01
    )
    with warnings.catch_warnings():
        # Turn Pillow's warnings about large images into errors.
        warnings.simplefilter("error")
        strip = with_caption(np.zeros((1, 30_720, 3), np.uint8), "RANDOM WEIGHTS (seed 0)")[1:]
    assert (strip[0, 0] == ALARM).all()
    assert (strip == 255).all(axis=-1).mean() > 0.01


def test_the_caption_is_a_red_strip_below_the_untouched_picture():
    picture = noise(900, 1240)
    captioned = with_caption(picture, "RANDOM WEIGHTS (seed 0) - googlenet - inception4c")
    np.testing.assert_array_equal(captioned[:900], picture)
    strip = captioned[900:]
    assert 20 < len(strip) < 60
    assert (strip[0] == ALARM).all()
    assert (strip > 240).all(axis=-1).sum() > 500  # the letters


def test_another_text_gives_another_strip_and_a_narrow_picture_more_lines():
    picture = noise(64, 128)
    one, other = (
        with_caption(picture, "RANDOM WEIGHTS (seed 0)"),
        with_caption(picture, "RANDOM WEIGHTS (seed 7)"),
    )
    assert one.shape == other.shape
    assert (one != other).any()
    assert len(with_caption(picture, "RANDOM WEIGHTS (seed 0) - googlenet - inception4c")) > len(one)


def test_text_is_broken_between_words_and_never_wider_than_its_room():
    lines = wrapped("RANDOM WEIGHTS (seed 0) - " + "x" * 60, 14, 150)
    assert lines[0] == "RANDOM WEIGHTS"
    assert all(width_px(line, 14) <= 150 for line in lines)
    assert lines[-1].endswith("…")


def test_names_are_drawn_in_the_letters_there_are(monkeypatch):
    assert plain("20 × 20\n  Straße – Ζέβρα") == "20 × 20 Straße – Ζέβρα"
    assert one_line("a\nb", 12, 100) == "a b"
    # DejaVu Sans has more than the letters that it is known to have.
    assert plain("ẍ ﬁ") == "ẍ ﬁ"
    monkeypatch.setattr(lettering, "file_of_letter", dict)
    assert plain("20 × 20\n  café – Ægis 日本 ẍ ﬁ") == "20 × 20 café – Ægis x fi"


def test_the_typeface_has_every_letter_that_it_is_known_to_have():
    letters = set(TTFont(typefaces.own_file(), lazy=True).getBestCmap())
    known = {code for code in range(0x110000) if typefaces.is_own(chr(code))}
    assert len(known) > 1000
    assert known <= letters


def test_figures_and_pictures_have_one_typeface():
    name = TTFont(typefaces.own_file(), lazy=True)["name"].getDebugName(1)
    assert name == typefaces.families()[0] == typefaces.OWN_FAMILY
    assert Path(font_manager.findfont(typefaces.OWN_FAMILY)).samefile(typefaces.own_file())


def test_european_languages_need_no_other_typeface(monkeypatch):
    def asked():
        raise AssertionError("matplotlib would be imported")

    monkeypatch.setattr(lettering, "file_of_letter", asked)
    with_caption(noise(64, 128), "RANDOM WEIGHTS (seed 0) – googlenet, “20 × 20”, café, Ζέβρα, зебра")
    program = "import sys; from atlas_pipeline.pictures.lettering import width_px; "
    program += "width_px('zebra', 20); sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_a_letter_of_another_script_is_drawn_by_the_typeface_that_has_it(monkeypatch, tmp_path):
    """In the test font, 马 is a square of half an em on the baseline."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    bar = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "bar"])
    font.setupCharacterMap({ord("马"): "bar"})
    font.setupGlyf({".notdef": bar, "bar": bar})
    font.setupHorizontalMetrics({".notdef": (500, 0), "bar": (500, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupPost()
    font.save(tmp_path / "bar.ttf")
    monkeypatch.setattr(lettering, "file_of_letter", lambda: {ord("马"): str(tmp_path / "bar.ttf")})
    assert plain("a 马 斑") == "a 马"
    assert width_px("马马", 40) == pytest.approx(40)
    image = lettering.canvas(100, 60)
    lettering.write(image, (50, 30), "马马", 40, (0, 0, 0), align="middle")
    rows, columns = np.nonzero(np.asarray(image)[..., 0] < 128)
    assert (columns.min(), columns.max()) == (30, 69)
    assert np.ptp(rows) + 1 == pytest.approx(20, abs=1)
    assert width_px("a马", 40) == pytest.approx(width_px("a", 40) + 20)


def test_the_density_figure_holds_the_density_map_and_a_scale_beneath():
    figure = density_figure(XY, 300)
    np.testing.assert_array_equal(figure[:300], density_map(density(XY, 300)))
    assert figure.shape[0] > 300
    assert (figure[300:] != 255).any()
    assert density_figure(np.zeros((0, 2)), 100).shape[1] == 100


def test_the_legend_has_every_class_in_its_colour():
    labels = np.arange(400) % 3
    figure = scatter_figure(XY, labels, ["cat", "dog", "ship"], 300)
    np.testing.assert_array_equal(figure[:, :300], scatter_plot(XY, labels, 3, 300))
    legend = figure[:, 300:].reshape(-1, 3)
    for colour in ([0, 114, 178], [230, 159, 0], [0, 158, 115]):
        assert (legend == colour).all(axis=1).any()


def test_a_long_list_of_classes_becomes_a_bar_that_fits():
    labels = np.arange(400)
    figure = scatter_figure(
        XY, labels, [f"a class with a very long name indeed, number {n}" for n in range(1000)], 300
    )
    assert figure.shape[0] == 300
    assert 300 < figure.shape[1] < 450


def test_names_that_cannot_be_drawn_become_numbers_and_a_label_beyond_them_is_refused(monkeypatch):
    monkeypatch.setattr(lettering, "file_of_letter", dict)
    one = scatter_figure(XY, np.zeros(400, int), ["日本"], 200)
    np.testing.assert_array_equal(one, scatter_figure(XY, np.zeros(400, int), ["class 0"], 200))
    with pytest.raises(ValueError, match="label 1 has no name"):
        scatter_figure(XY, np.ones(400, int), ["cat"], 200)


def test_images_without_a_label_are_grey_and_the_legend_says_so():
    some = np.where(np.arange(400) % 4, np.arange(400) % 2, -1)
    figure, all_known = (
        scatter_figure(XY, labels, ["cat", "dog"], 300) for labels in (some, np.maximum(some, 0))
    )
    grey = [120, 120, 126]
    assert (figure[:, 300:].reshape(-1, 3) == grey).all(axis=1).any()
    assert not (all_known[:, 300:].reshape(-1, 3) == grey).all(axis=1).any()


def test_without_any_label_there_is_no_legend():
    assert scatter_figure(XY, np.full(400, -1), ["cat"], 200).shape == (200, 200, 3)


def test_the_overview_places_panels_side_by_side_and_thumbnails_beneath():
    def flat(side, level):
        return np.full((side, side, 3), level, np.uint8)

    panels = [
        Panel(
            title=f"mixed{n}",
            subtitle="20 × 20",
            atlas=partial(flat, 640, 40 * n),
            thumbnails=(partial(flat, 90, 100), partial(flat, 90, 101)),
        )
        for n in (3, 4, 5)
    ]
    sheet = overview(panels, panel_px=320)
    found = [np.flatnonzero((sheet == 40 * n).all(axis=-1).any(axis=0)) for n in (3, 4, 5)]
    assert [len(cols) for cols in found] == [320, 320, 320]
    assert found[0][-1] < found[1][0] < found[1][-1] < found[2][0]
    below = np.flatnonzero((sheet == 100).all(axis=-1).any(axis=1))
    assert below[0] > np.flatnonzero((sheet == 160).all(axis=-1).any(axis=1))[-1]
    warned = overview(panels, panel_px=320, caption="RANDOM WEIGHTS (seed 0)")
    np.testing.assert_array_equal(warned[: len(sheet)], sheet)
    assert (warned[len(sheet)] == ALARM).all()


def test_many_layers_make_several_rows_and_none_is_refused():
    panels = [Panel(title=str(n), subtitle="", atlas=partial(noise, 20, 20)) for n in range(4)]
    sheet = overview(panels, panel_px=64)
    assert sheet.shape[1] < 3 * 64
    with pytest.raises(ValueError, match="at least one panel"):
        overview([])


@pytest.mark.parametrize("thumbnails", [0, 1, 2])
def test_a_sheet_is_no_larger_than_it_may_be_with_as_many_panels_as_it_has_room_for(monkeypatch, thumbnails):
    monkeypatch.setattr(sheets, "LARGEST_PX", 700)
    most = max_panels(64, with_thumbnails=thumbnails > 0)
    panel = Panel(
        title="t", subtitle="s", atlas=lambda: noise(20, 20), thumbnails=[lambda: noise(9, 9)] * thumbnails
    )
    sheet = overview([panel] * most, panel_px=64, note="some of them")
    assert max(sheet.shape) <= 700
    assert most > 20
    without = overview([panel] * most, panel_px=64)
    np.testing.assert_array_equal(sheet[: len(without)], without)
    assert (sheet[len(without) :] < 255).any()


def test_of_a_sheet_one_picture_at_a_time_is_in_memory():
    read = []

    def picture():
        assert not [one for one in read if one() is not None]
        read.append(weakref.ref(made := noise(20, 20)))
        return made

    overview([Panel(title="t", subtitle="s", atlas=picture, thumbnails=[picture])] * 5, panel_px=64)
    assert len(read) == 10
