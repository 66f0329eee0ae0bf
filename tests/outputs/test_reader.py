import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hand_made import ICON_PX, colour_of
from PIL import Image

import atlas_pipeline
from atlas_pipeline.errors import ConfigError, MissingInputError
from atlas_pipeline.publish.export import export_run
from atlas_pipeline.reader import AtlasRun, open_run
from atlas_pipeline.reader.file_names import FolderFiles


@pytest.fixture(params=["folder", "zip", "unpacked"])
def run(request, made_run, tmp_path):
    """One run, read from a folder, from an archive, and from the unpacked archive."""
    folder = made_run()
    if request.param == "folder":
        return open_run(folder)
    export_run(folder, tmp_path / "made.zip")
    if request.param == "zip":
        return open_run(tmp_path / "made.zip")
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    return open_run(tmp_path / "unpacked")


def test_layers_views_and_grids(run):
    assert run.name == "made"
    assert run.layers == ["conv1", "conv2"]
    assert run.views == {"conv1": ["all"], "conv2": ["all", "class-cost-5-or-6", "compare-ant-dog"]}
    assert run.grids("conv2") == [6, 12]
    assert run.atlas("conv2").grid == 12


def test_cells_are_a_frame_of_one_row_a_cell(run):
    atlas = run.atlas("conv1", grid=6)
    cells = atlas.cells
    assert len(cells) == len(atlas.document["cells"])
    assert cells["count"].sum() == atlas.num_activations - 5
    top = cells[cells["row"] == cells["row"].min()].iloc[0]
    assert (top["label"], top["class_index"], top["attribution"]) == ("bee & <wasp>", 1, 1.0)
    assert top["y"] == pytest.approx(1 - (top["row"] + 0.5) / 6)
    assert top["x"] == pytest.approx((top["col"] + 0.5) / 6)


def test_the_picture_has_no_caption_and_icons_no_margin(run):
    atlas = run.atlas("conv1", grid=6)
    assert atlas.image.size == (6 * ICON_PX, 6 * ICON_PX)
    for cell in atlas.cells.itertuples():
        icon = np.asarray(atlas.icon(cell.row, cell.col))
        assert (icon == colour_of(cell.row, cell.col)).all()
        assert len(icon) == ICON_PX if cell.count > 20 else len(icon) < ICON_PX
    with pytest.raises(KeyError, match=r"\(0, 0\)"):
        atlas.icon(0, 0)


def test_a_reduced_picture_is_not_kept_and_may_be_that_of_the_preview(made_run):
    folder = made_run()
    whole = open_run(folder).atlas("conv1", grid=6).image
    atlas = open_run(folder).atlas("conv1", grid=6)
    assert (np.asarray(atlas.reduced(100)) == np.asarray(whole)).all()
    # Only the atlas is reduced: the caption below it would bleed into the lower edge.
    expected = np.asarray(whole.resize((6, 6), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(np.asarray(atlas.reduced(6)) - expected).max() <= 3
    Image.new("RGB", (24, 30), (0, 0, 255)).save(folder / "conv1" / "all" / "atlas-6-preview.png")
    assert (np.asarray(atlas.reduced(6)) == (0, 0, 255)).all()
    # The 24 px preview is too small for this size, so the atlas itself is reduced.
    assert atlas.reduced(30).getpixel((0, 0)) == (255, 255, 255)
    assert "image" not in vars(atlas)


def test_no_picture_is_too_large_to_be_cut_from_what_stands_below_it(run, monkeypatch):
    # Pillow warns above this limit and raises above twice of it; an icon has 64 pixels, the atlas 2,304.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    atlas = run.atlas("conv1", grid=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = np.asarray(atlas.image)
        assert atlas.icon(3, 3).getpixel((0, 0)) == colour_of(3, 3)
    assert picture.shape == (6 * ICON_PX, 6 * ICON_PX, 3)
    # Pixels keep their places: the centre of each cell shows its icon.
    for cell in atlas.cells.itertuples():
        middle = [int((place + 0.5) * ICON_PX) for place in (cell.row, cell.col)]
        assert tuple(picture[tuple(middle)]) == colour_of(cell.row, cell.col)


def test_what_there_is_not_is_said_with_the_nearest(run):
    for ask, words in (
        (lambda: run.atlas("conv3"), "layer 'conv3' is not in run 'made'; nearest: 'conv"),
        (lambda: run.atlas("conv2", "compare-ant-dogs"), "nearest: 'compare-ant-dog'"),
        (lambda: run.atlas("conv2", grid=7), "grid 7 .* it has 6, 12"),
    ):
        with pytest.raises(ConfigError, match=words):
            ask()


def test_a_layer_that_is_to_come_is_no_mistake_of_spelling(made_run):
    folder = made_run()
    (folder / "config.yaml").write_text("name: made\nlayers: [conv1, conv2, conv3]")
    with pytest.raises(ConfigError, match="no atlas of layer 'conv3' yet; make it with: atlas run"):
        open_run(folder).atlas("conv3")


def test_a_run_without_attributions_has_no_labels(made_run):
    cells = open_run(made_run(classes=False)).atlas("conv1").cells
    assert cells["label"].isna().all()
    assert cells["attribution"].isna().all()
    assert (cells["class_index"] == -1).all()


def test_layouts_need_the_cache(run):
    with pytest.raises(MissingInputError, match=r"archive|not there any more"):
        run.layout("conv1")


def test_a_run_at_the_top_of_the_tree_has_no_cache_either(made_run):
    folder = made_run()

    class AtTheTop(FolderFiles):
        """Files of a run that claim to lie in /made."""

        def __init__(self):
            super().__init__(Path("/made"))

        names = FolderFiles(folder).names
        read = FolderFiles(folder).read

    with pytest.raises(MissingInputError, match="not there any more"):
        AtlasRun(AtTheTop()).layout("conv1")


def test_what_is_no_run_is_refused_in_one_line(tmp_path, made_run):
    (tmp_path / "text.zip").write_text("no")
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "nowhere", "does not exist"), (tmp_path / "text.zip", "neither"),
                        (tmp_path / "empty", "holds no run")):  # fmt: skip
        with pytest.raises(ConfigError, match=words) as error:
            open_run(path)
        assert "\n" not in str(error.value)


def test_the_public_face_is_loaded_on_first_use():
    assert atlas_pipeline.open_run is open_run
    from atlas_pipeline.config.loading import load_config

    assert atlas_pipeline.load_config is load_config
    with pytest.raises(AttributeError):
        _ = atlas_pipeline.nothing
