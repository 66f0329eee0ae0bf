"""Runs, atlases and cells as a notebook shows them."""

import base64
import io
import re

import pytest
from PIL import Image

from atlas_pipeline.errors import ConfigError, MissingInputError
from atlas_pipeline.reader import open_run


def pictures(html):
    """The pictures in some HTML."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


def test_a_run_lists_its_atlases_with_pictures_and_numbers(made_run):
    html = open_run(made_run())._repr_html_()
    assert html.count("<tr>") == 1 + 4
    assert [image.width for image in pictures(html)] == [6 * 8] * 4
    atlas = open_run(made_run()).atlas("conv2", grid=6)
    row = next(row for row in html.split("<tr>") if "<td>conv2</td><td>all</td>" in row)
    fidelity = atlas.cells["fidelity"].median()
    for words in ("6, 12", f"{atlas.num_activations:,}", f"{len(atlas.cells)}", f"{fidelity:.2f}", "0.25"):
        assert f"<td>{words}</td>" in row


def test_random_weights_are_said(made_run):
    run = open_run(made_run(random_weights=True))
    assert run._repr_html_().count("random weights") == 4
    assert "random weights" in run.atlas("conv1")._repr_html_()


def test_an_atlas_is_its_picture_with_its_numbers(made_run):
    atlas = open_run(made_run()).atlas("conv1", grid=6)
    html = atlas._repr_html_()
    (picture,) = pictures(html)
    assert picture.size == atlas.image.size
    assert f"{len(atlas.cells)} cells of {atlas.num_activations:,} activations" in html


def test_a_cell_is_its_icon_its_numbers_and_its_classes(made_run):
    atlas = open_run(made_run()).atlas("conv1", grid=6)
    first = atlas.cells.iloc[0]
    cell = atlas.cell(int(first["row"]), int(first["col"]))
    assert cell.numbers["count"] == first["count"]
    html = cell._repr_html_()
    # The label has characters that HTML gives a meaning.
    assert "bee &amp; &lt;wasp&gt;" in html
    assert "<wasp>" not in html
    assert f"<td>activations</td><td>{first['count']}</td>" in html
    assert "<td>round trip</td><td>own cell</td>" in html
    assert "<td>fidelity</td><td>0.80</td><td>noise 0.25</td>" in html
    (icon,) = pictures(html)
    assert icon.size == cell.icon.size
    with pytest.raises(KeyError, match=r"\(0, 0\) of .* has no icon"):
        atlas.cell(0, 0)


def test_a_gallery_keeps_the_order_and_counts_the_rest(made_run):
    atlas = open_run(made_run()).atlas("conv1", grid=12)
    cells = atlas.cells.nlargest(3, "fidelity")
    gallery = atlas.gallery(cells)
    assert [(cell.row, cell.col) for cell in gallery] == list(zip(cells["row"], cells["col"], strict=True))
    assert len(pictures(gallery._repr_html_())) == 3
    everything = atlas.gallery(atlas.cells)._repr_html_()
    assert len(pictures(everything)) == 40
    assert f"and {len(atlas.cells) - 40} more" in everything


def test_cells_without_attributions_have_no_classes(made_run):
    atlas = open_run(made_run(classes=False)).atlas("conv1", grid=6)
    html = atlas.gallery(atlas.cells)[0]._repr_html_()
    assert "speaks for" not in html


def test_what_a_hand_made_run_lacks_is_said(made_run):
    run = open_run(made_run())
    for ask, words in (
        (lambda: run.layout_picture("conv1"), r"conv1/all/scatter.png is missing"),
        (lambda: run.layout_picture("conv3"), "layer 'conv3' is not in run 'made'"),
        (run.show, "has no viewer"),
    ):
        with pytest.raises(ConfigError, match=words):
            ask()
    with pytest.raises(MissingInputError, match="not there any more"):
        run.atlas("conv1").means()
