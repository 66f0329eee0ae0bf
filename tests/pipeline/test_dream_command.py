"""`atlas dream` on a small network: files, reruns, pictures given on the command line, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.runs.pipeline_file import steps_of

LATE = "4"
DREAM = {"size_px": 40, "octaves": 2, "steps": 3}


@pytest.fixture
def dreams(small):
    return {**small, "dream": DREAM}


@pytest.fixture
def photo(tmp_path):
    rows, cols = np.mgrid[0:60, 0:90]
    pixels = np.stack([rows * 3, cols * 2, 255 - rows * 2], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "Sea side.png")
    return tmp_path / "Sea side.png"


def folder(config, layer=LATE):
    return Path(config["run"]["workspace"]) / "runs" / config["name"] / layer / "dream"


def made(config, *pictures, atlas, **others):
    result = atlas("dream", config, *map(str, pictures), **others)
    assert result.exit_code == 0, result.stderr
    return result


def test_a_dream_has_its_size_and_says_how_it_was_made(dreams, atlas):
    result = made(dreams, atlas=atlas)
    (path,) = folder(dreams).iterdir()
    assert path.name == "noise-1.png"
    assert str(path) in result.stdout
    picture = Image.open(path)
    assert picture.size == (40, 40)
    origin = json.loads(picture.text["Provenance"])
    assert origin["config"]["layer"] == LATE
    assert origin["config"]["kind"] == "noise"
    numbers = dict(pair.split("=") for pair in picture.text["Comment"].split())
    assert float(numbers["score"]) > float(numbers["score_before"])


def test_a_second_time_nothing_is_made(dreams, atlas):
    made(dreams, atlas=atlas)
    assert "0 tasks run" in made(dreams, atlas=atlas).stdout


def test_a_dream_reads_no_image_of_the_run(dreams, atlas):
    made(dreams, atlas=atlas)
    cache = Path(dreams["run"]["workspace"]) / "cache"
    assert [folder.name for folder in cache.iterdir() if not folder.name.startswith(".")] == ["dream"]


def test_given_pictures_become_a_dream_and_a_caricature(dreams, atlas, photo):
    made(dreams, photo, atlas=atlas)
    names = sorted(path.name for path in folder(dreams).iterdir())
    assert [name.partition("-")[0] for name in names] == ["caricature", "dream"]
    assert all("sea-side" in name for name in names)
    for path in folder(dreams).iterdir():
        assert Image.open(path).size == (40, 27)
    # They stay when the config's own dreams are made.
    made(dreams, atlas=atlas)
    assert len(list(folder(dreams).iterdir())) == 3


def test_a_picture_is_known_by_its_bytes_not_by_its_place(dreams, atlas, photo):
    made(dreams, photo, atlas=atlas)
    moved = photo.with_name("moved.png")
    photo.rename(moved)
    assert "0 tasks run" in made(dreams, moved, atlas=atlas).stdout


def test_bad_pictures_among_good_ones_are_named_and_left_out(dreams, atlas, photo):
    (photo.parent / "bad.png").write_bytes(b"no picture")
    result = made(dreams, f"{photo.parent}/*.png", atlas=atlas)
    assert "1 picture left out" in result.stdout
    assert "bad.png" in result.stdout
    assert len(list(folder(dreams).iterdir())) == 2


def test_a_seed_belongs_to_a_picture_and_not_to_its_company(dreams):
    def fingerprints(**changed):
        steps = steps_of(parse_config({**dreams, "dream": {**DREAM, **changed}}))
        return {(s.layer, s.config.number): s.config for s in steps if s.stage.name == "dream"}

    one, three = fingerprints(), fingerprints(noise=3, layers=["1", LATE])
    assert len(three) == 6
    assert three[LATE, 1] == one[LATE, 1]


@pytest.mark.parametrize(
    ("layer", "words"),
    [("44", ["layer '44' is not in", "nearest: '4'"]), ("8", ["layer '8'", "has no spatial map", "nearest"])],
)
def test_a_layer_without_a_map_is_refused_before_anything_is_made(dreams, refused, atlas, layer, words):
    refused(atlas("dream", dreams, "--layer", layer), *words)
    assert not folder(dreams, layer).exists()


def test_no_usable_picture_is_one_line(dreams, refused, atlas, tmp_path):
    refused(atlas("dream", dreams, str(tmp_path / "gone.png")), "gone.png", "no such file")


def test_a_section_without_anything_to_dream_of_is_refused(dreams, refused, atlas):
    dreams["dream"] = {**DREAM, "noise": 0}
    refused(atlas("dream", dreams), "nothing to dream of", "noise: 1")
