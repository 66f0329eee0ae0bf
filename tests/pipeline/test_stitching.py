"""The stitched atlas is streamed, yet its picture and document equal those made in one go."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.document import atlas_document, atlas_picture
from atlas_pipeline.document.schema_check import document_problems
from atlas_pipeline.numerics.mosaic import mosaic
from atlas_pipeline.stages.atlas import stitch

LATE = "4"


def folder_of(config, view="all"):
    return Path(config["run"]["workspace"]) / "runs" / config["name"] / LATE / view


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def by_hand(store_of, config, icon_px, view="all"):
    """The mosaic of all icons, made in one go."""
    made = store_of(config)
    cells, icons = made("bin", view).read(), made("invert", view).read()["icon"].to_pylist()
    pictures = []
    for icon in icons:
        picture = Image.open(io.BytesIO(icon)).convert("RGBA")
        pictures.append(np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)))
    places = (cells[name].to_numpy() for name in ("row", "col", "count"))
    return mosaic(np.stack(pictures)[..., :3], *places, config["grid"]["sizes"][0], icon_px)


@pytest.fixture
def in_bands(monkeypatch):
    """Draw one row of cells per band, and write documents two cells at a time."""
    monkeypatch.setattr(atlas_picture, "BAND_BYTES", 1)
    monkeypatch.setattr(atlas_document, "CELLS_AT_ONCE", 2)


def test_the_picture_is_that_of_all_icons_at_once(small, atlas, store_of, in_bands):
    small["grid"] = {"sizes": [5], "min_count": 1}
    assert atlas("run", small).exit_code == 0
    picture = pixels_of(folder_of(small) / "atlas-5.png")
    np.testing.assert_array_equal(picture, by_hand(store_of, small, 16))
    assert (picture != 255).any(axis=(1, 2)).mean() > 0.5


def test_transparent_icons_lie_on_paper(small, atlas, store_of, in_bands):
    small["invert"]["alpha"] = 1
    assert atlas("run", small).exit_code == 0
    difference = pixels_of(folder_of(small) / "atlas-3.png").astype(int) - by_hand(store_of, small, 16)
    # Pillow composites in integers, so pixels may differ by 1.
    assert np.abs(difference).max() <= 1


def test_bands_and_threads_change_no_pixel_and_no_cell(small, atlas, tmp_path, monkeypatch):
    small["comparisons"] = [{"left": "ant", "right": "emu", "grid": small["grid"]}]
    assert atlas("run", small).exit_code == 0
    pictures = [folder_of(small, view) / "atlas-3.png" for view in ("all", "compare-ant-emu")]
    wanted = [pixels_of(path) for path in pictures]
    document = (folder_of(small) / "atlas-3.json").read_bytes()
    monkeypatch.setattr(atlas_picture, "BAND_BYTES", 1)
    monkeypatch.setattr(atlas_document, "CELLS_AT_ONCE", 2)
    assert atlas("stitch", small, "--force", "--set", "run.workers=3").exit_code == 0
    # The axis below a comparison is drawn in bands too.
    for path, pixels in zip(pictures, wanted, strict=True):
        np.testing.assert_array_equal(pixels_of(path), pixels)
    assert (folder_of(small) / "atlas-3.json").read_bytes() == document
    assert document_problems(json.loads(document)) == []


def test_a_large_picture_has_a_preview_which_the_page_and_the_sheet_show(small, atlas, store_of, monkeypatch):
    monkeypatch.setattr(stitch, "LARGEST_ON_PAGE_PX", 40)
    monkeypatch.setattr(stitch, "PREVIEW_PX", 24)
    assert atlas("run", small).exit_code == 0
    preview = pixels_of(folder_of(small) / "atlas-3-preview.png")
    np.testing.assert_array_equal(preview, by_hand(store_of, small, 8))
    assert "atlas-3-preview.png" in (folder_of(small).parents[1] / "report.html").read_text()


def test_publishing_again_writes_nothing_and_mends_what_was_changed(small, finished, atlas):
    finished(small)
    files = {path: path.read_bytes() for path in folder_of(small).rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in files}
    assert atlas("run", small).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in files} == times
    picture = folder_of(small) / "atlas-3.png"
    for spoilt in (b"", files[picture][:-1], files[picture] + b"x", b"x" + files[picture][1:]):
        picture.write_bytes(spoilt)
        assert atlas("run", small).exit_code == 0
        assert picture.read_bytes() == files[picture]
