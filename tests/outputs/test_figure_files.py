"""Files of a figure: fonts, reproducible bytes, and the files written beside it."""

import base64
import html
import io
import json
import re
import warnings

import matplotlib
import pypdfium2
import pypdfium2.raw as pdfium
import pytest
from drawn_figures import drawn, text_of
from fontTools.ttLib import TTFont

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure import FigureRequest, save_figure
from atlas_pipeline.figure.request import Loupe, Print
from atlas_pipeline.reader import open_run


def test_text_can_be_selected_and_its_typeface_is_embedded(made_run, tmp_path):
    drawn(made_run(), tmp_path / "fig.pdf", loupes=(Loupe(0.5, 0.5),))
    text = text_of(tmp_path / "fig.pdf")
    for words in (
        "Activation atlas: conv2 of demo",
        "UMAP (20 neighbours, minimum distance 0.1, cosine; trustworthiness 0.951",
        "photos/train",
        "fingerprint feedfacefeedface",
        # Dollar signs in a label do not start a formula, and markup in a label is text.
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
    # Fonts are TrueType outlines, because journals refuse Type 3.
    assert b"/FontFile2" in (tmp_path / "fig.pdf").read_bytes()
    assert b"/Type3" not in (tmp_path / "fig.pdf").read_bytes()


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
    # Our own files are overwritten, here by the figure of another layer.
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
    # The SVG embeds its fonts, with every letter of the text.
    fonts = re.findall(r"font-weight:(normal|bold);src:url\(data:font/ttf;base64,([^)]+)\)", svg)
    assert [weight for weight, _ in fonts] == ["normal", "bold"]
    words = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    for _, encoded in fonts:
        letters = TTFont(io.BytesIO(base64.b64decode(encoded))).getBestCmap()
        assert {ord(c) for c in html.unescape(words)} <= set(letters)


def test_every_citation_of_the_methods_is_in_the_bibliography(made_run, tmp_path):
    figure, bibliography, methods = drawn(made_run(), tmp_path / "fig.pdf")
    assert [p.name for p in (figure, bibliography, methods)] == ["fig.pdf", "fig.bib", "fig-methods.md"]
    entries = set(re.findall(r"^@\w+\{(\w+),", bibliography.read_text(), re.MULTILINE))
    cited = set(re.findall(r"@(\w+)", methods.read_text()))
    assert {"carter2019atlas", "mcinnes2018umap", "atlaspipeline", "model"} <= cited
    assert cited == entries
    assert bibliography.read_text().count("{") == bibliography.read_text().count("}")


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
