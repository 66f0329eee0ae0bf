"""`atlas image`: pages of pictures given by path, their numbers, reruns, bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EARLY, LATE = "1", "4"


def _save(path: Path, seed: int, height: int = 50, width: int = 64) -> Path:
    """A smooth picture in a file."""
    levels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def config(small):
    return {**small, "layers": [EARLY, LATE], "image": {"num_groups": 3, "position_icons": 2}}


def _folder(config):
    return Path(config["run"]["workspace"]) / "runs" / config["name"] / "image"


def _values(path: Path):
    text = path.read_text()
    return json.loads(text.removeprefix("atlas.receive(").removesuffix(");\n"))


def _made(config):
    """Modification times of all parts in the cache."""
    return {
        path: path.stat().st_mtime_ns for path in Path(config["run"]["workspace"]).glob("cache/*/*/part-*")
    }


def test_pages_of_good_pictures_are_made_and_bad_ones_named(config, atlas, tmp_path):
    _save(tmp_path / "b.png", 1)
    _save(tmp_path / "a.png", 2)
    (tmp_path / "bad.png").write_text("no picture")
    result = atlas("image", config, f"{tmp_path}/*.png", "--class", "emu")
    assert result.exit_code == 0, result.stderr
    assert "1 picture left out" in result.stdout
    assert "bad.png" in result.stdout
    pages = [Path(line) for line in result.stdout.split() if line.endswith("index.html")]
    assert [page.parent.name[:2] for page in pages] == ["a-", "b-"]
    assert all(page.is_file() for page in pages)
    # The pages lead to the viewer and to the report, which are made after them.
    run_folder = pages[0].parents[2]
    assert all((run_folder / name).is_file() for name in ("index.html", "report.html"))
    assert pages[0].parent.name in (run_folder / "report.html").read_text()
    values = _values(pages[0].parent / "layer-1.js")
    assert values["layer"] == LATE
    assert len(values["cell"]) == values["height"] * values["width"] == 256
    assert "emu" in [one["label"] for one in values["classes"]]

    # Sums of positions and of channels are those of the linearisation, in what the page prints.
    for number, one in enumerate(values["classes"]):
        positions, channels = (values["gradient"][by][number] for by in ("positions", "channels"))
        assert sum(positions) == pytest.approx(one["gradientExpected"], abs=1e-3)
        assert sum(channels) == pytest.approx(one["gradientExpected"], abs=1e-2)
        assert one["gradientSum"] == pytest.approx(one["gradientExpected"], abs=1e-3)

    # A second picture adds its own page, and makes nothing of the others again.
    before = _made(config)
    _save(tmp_path / "c.png", 3)
    assert atlas("image", config, f"{tmp_path}/?.png", "--class", "emu").exit_code == 0
    after = _made(config)
    assert {path: after[path] for path in before} == before
    assert len(list(_folder(config).glob("*/index.html"))) == 3
    assert not [path for path in after.keys() - before.keys() if path.parent.parent.name == "invert"]

    # A moved picture is the same picture.
    shutil.move(tmp_path / "c.png", tmp_path / "moved.png")
    assert "0 tasks run" not in atlas("image", config, f"{tmp_path}/moved.png").stdout
    maps = [path for path in _made(config).keys() - after.keys() if path.parent.parent.name == "picture_map"]
    assert maps == []


def test_no_usable_picture_is_refused(config, atlas, refused, tmp_path):
    refused(
        atlas("image", config, f"{tmp_path}/gone.jpg"), "none of the pictures", "gone.jpg", "no such file"
    )
    refused(atlas("image", config), "no picture", "atlas image CONFIG dog.jpg")
    _save(tmp_path / "tiny.png", 0, 1, 1)
    refused(atlas("image", config, f"{tmp_path}/tiny.png"), "1 x 1 pixels")


def test_unknown_class_names_the_nearest(config, atlas, refused, tmp_path):
    picture = _save(tmp_path / "a.png", 2)
    refused(atlas("image", config, str(picture), "--class", "emo"), "emo", "emu")


def test_more_groups_than_rank_are_refused(config, atlas, refused, tmp_path):
    picture = _save(tmp_path / "a.png", 2)
    few = {**config, "image": {"num_groups": 60}}
    refused(atlas("image", few, str(picture)), "image.num_groups is 60", "rank", "a.png", "at most")


def test_layer_of_one_position_has_no_groups_and_says_so(small, atlas, tmp_path):
    # The pool before the classifier.
    config = {**small, "layers": ["6"], "sample": {**small["sample"], "edge": 0}}
    result = atlas("image", config, str(_save(tmp_path / "a.png", 2)))
    assert result.exit_code == 0, result.stderr
    (page,) = _folder(config).glob("*/layer-0.js")
    values = _values(page)
    assert values["height"] == values["width"] == 1
    assert values["groups"] is None
    assert len(values["cell"]) == 1


def test_an_altered_card_leaves_the_picture_out_of_the_list(config, atlas, tmp_path):
    _save(tmp_path / "a.png", 2)
    assert atlas("image", config, str(tmp_path / "a.png")).exit_code == 0
    assert atlas("run", config).exit_code == 0
    (page,) = _folder(config).iterdir()
    report = _folder(config).parent / "report.html"
    assert f"./image/{page.name}/index.html" in report.read_text()
    for content in ("{", "{}", '{"file": 1, "label": 2, "probability": "x", "layers": []}', "[]"):
        (page / "card.json").write_text(content)
        result = atlas("run", config)
        assert result.exit_code == 0, result.stderr
        assert page.name not in report.read_text()
    assert (page / "index.html").is_file()
