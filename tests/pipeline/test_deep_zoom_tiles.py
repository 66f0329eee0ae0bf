"""Deep Zoom tiles show the atlas's picture, exist on request, and go when no longer requested."""

import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.pictures.pyramid import OVERLAP_PX, TILE_PX

LATE = "4"


def folder_of(config, view="all"):
    return Path(config["run"]["workspace"]) / "runs" / config["name"] / LATE / view


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture
def zoomed(small):
    config = copy.deepcopy(small)
    config["invert"]["size_px"] = 100
    config["stitch"] = {"deep_zoom": True, "deep_zoom_format": "png"}
    return config


def test_deep_zoom_tiles_are_the_picture_and_cost_nothing_else(small, zoomed, atlas, states):
    del zoomed["stitch"]
    assert atlas("run", zoomed).exit_code == 0
    zoomed["stitch"] = {"deep_zoom": True, "deep_zoom_format": "png"}
    assert {step for step, state in states(zoomed).items() if state != "done"} == {"deep_zoom 4 all 3"}
    assert atlas("run", zoomed).exit_code == 0
    picture = pixels_of(folder_of(zoomed) / "atlas-3.png")
    whole = np.zeros_like(picture)
    for path in (folder_of(zoomed) / "atlas-3_files" / "9").iterdir():
        left, top = (max(0, int(n) * TILE_PX - OVERLAP_PX) for n in path.stem.split("_"))
        tile = pixels_of(path)
        whole[top : top + len(tile), left : left + tile.shape[1]] = tile
    np.testing.assert_array_equal(whole, picture)
    assert f'Width="{picture.shape[1]}"' in (folder_of(zoomed) / "atlas-3.dzi").read_text()


def test_tiles_go_when_they_are_not_asked_for_any_more(zoomed, atlas):
    assert atlas("run", zoomed).exit_code == 0
    assert (folder_of(zoomed) / "atlas-3_files" / "0" / "0_0.png").is_file()
    del zoomed["stitch"]
    assert atlas("run", zoomed).exit_code == 0
    assert not list(folder_of(zoomed).glob("*.dzi"))
    assert not (folder_of(zoomed) / "atlas-3_files").exists()


def test_a_comparison_has_tiles_of_its_axis_too(zoomed, atlas):
    grid = {"sizes": [3], "min_count": 2}
    zoomed["comparisons"] = [{"left": "ant", "right": "emu", "grid": grid}]
    assert atlas("run", zoomed).exit_code == 0
    folder = folder_of(zoomed, "compare-ant-emu")
    height, width, _ = pixels_of(folder / "atlas-3.png").shape
    assert height > width
    assert f'Width="{width}" Height="{height}"' in (folder / "atlas-3.dzi").read_text()


def test_a_format_that_is_none_is_one_line(small, atlas):
    result = atlas("run", {**small, "stitch": {"deep_zoom": True, "deep_zoom_format": "tiff"}})
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert "stitch.deep_zoom_format" in line
