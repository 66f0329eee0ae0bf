"""Values that the reader takes from the workspace's cache and from the viewer's files of a real run."""

from pathlib import Path

import numpy as np
import pytest

from atlas_pipeline import open_run
from atlas_pipeline.errors import MissingInputError
from atlas_pipeline.publish.export import export_run
from atlas_pipeline.tables.columns import column_matrix


@pytest.fixture
def run(small, finished):
    config = finished(small)
    return open_run(Path(config["run"]["workspace"]) / "runs" / "small")


def test_means_and_attributions_are_those_of_the_cells(run, small, store_of):
    atlas = run.atlas("4")
    table = store_of(small)("bin", "all").read()
    means, attributions = atlas.means(), atlas.attributions()
    assert list(attributions.columns) == ["ant", "bee", "cat", "dog", "emu"]
    assert len(means) == len(attributions) == len(atlas.cells) > 1
    places = list(zip(table["row"].to_pylist(), table["col"].to_pylist(), strict=True))
    for number, cell in enumerate(atlas.cells.itertuples()):
        at = places.index((cell.row, cell.col))
        assert (means[number] == column_matrix(table, "activation")[at]).all()
        assert (attributions.iloc[number].to_numpy() == column_matrix(table, "attribution")[at]).all()
        assert attributions.iloc[number].idxmax() == cell.label
        assert attributions.iloc[number].max() == pytest.approx(cell.attribution, rel=1e-4)


def test_classes_of_one_name_are_told_apart_by_their_index(run):
    folder = run.folder / "4" / "all" / "tiles-3"
    text = (folder / "grid.js").read_text().replace('"dog"', '"ant"')
    (folder / "grid.js").write_text(text)
    assert list(run.atlas("4").attributions().columns) == ["ant (0)", "bee", "cat", "ant (3)", "emu"]
    (folder / "grid.js").unlink()
    assert list(run.atlas("4").attributions().columns)[:2] == ["class 0", "class 1"]


def test_a_run_without_attributions_says_so(small, atlas):
    small["sample"]["attribution"] = "none"
    assert atlas("run", small).exit_code == 0
    found = open_run(Path(small["run"]["workspace"]) / "runs" / "small").atlas("4")
    assert found.means().shape == (len(found.cells), 12)
    with pytest.raises(MissingInputError, match="no attributions: it was sampled with"):
        found.attributions()


def test_labels_in_a_layout_have_their_names(run):
    (run.folder / "keys" / "keys.js").write_text('atlas.receive({"labelNames":["house","tram","tree"]});\n')
    layout = run.layout("4")
    for label, name in zip(layout["label"], layout["label_name"], strict=True):
        assert name == (["house", "tram", "tree"][label] if 0 <= label < 3 else None)
    assert layout["label_name"].notna().any()
    assert layout["label_name"].isna().any()


def test_patches_of_a_cell_are_those_of_the_page(run, tmp_path):
    first = run.atlas("4").cells.iloc[-1]
    cell = run.atlas("4").cell(int(first["row"]), int(first["col"]))
    assert cell.patches.size[0] % 3 == 0
    assert np.asarray(cell.patches).std() > 10
    # An archive holds the page, and not the cache.
    export_run(run.folder, tmp_path / "run.zip")
    archive = open_run(tmp_path / "run.zip").atlas("4")
    assert (np.asarray(archive.patches(cell.row, cell.col)) == np.asarray(cell.patches)).all()
    with pytest.raises(MissingInputError, match="archive"):
        archive.means()
    assert archive.show().num_bytes == run.atlas("4").show().num_bytes


def test_pictures_of_a_layout_are_the_published_ones(run):
    assert run.layout_picture("4").size[0] > 100
    assert run.layout_picture("4", kind="density").size != run.layout_picture("4").size
