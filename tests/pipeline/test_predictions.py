"""Predictions of every image: against the network, in the cells that the viewer colours, bad input."""

import base64
import json
import runpy
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

LATE = "4"
# The network has a class of the first two names only.
CLASSES = ("bee", "emu", "wombat")
BROKEN = "bee/3.png"


@pytest.fixture
def labelled(small, tmp_path):
    """The config of a run on 48 pictures in a folder for each class; one picture is broken."""
    rng = np.random.default_rng(4)
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(16):
            levels = rng.integers(0, 256, 3) * rng.random((32, 32, 3))
            Image.fromarray(levels.astype(np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "images" / BROKEN).write_bytes(b"no picture")
    return {
        **small,
        "images": {"source": "folder", "path": str(tmp_path / "images"), "max_bad": 0.1},
        "sample": {"shard_size": 20, "predictions": True},
        "grid": {"sizes": [2], "min_count": 1},
    }


def logits_by_hand(config, keys):
    """(image, class): the logits of each picture, computed alone; NaN for the broken one."""
    module = runpy.run_path(config["model"]["name"].rpartition(":")[0])
    network, logits = module["build"]().eval(), np.full((len(keys), 5), np.nan)
    for number, key in enumerate(keys):
        if key != BROKEN:
            levels = np.asarray(Image.open(Path(config["images"]["path"]) / key)) / 255
            image = torch.tensor((levels - 0.5) / 0.25, dtype=torch.float32).permute(2, 0, 1)[None]
            with torch.no_grad():
                logits[number] = network(image)[0].numpy()
    return logits


def test_every_image_has_the_class_that_the_network_gives_it(labelled, atlas, store_of):
    result = atlas("sample", labelled)
    assert result.exit_code == 0, result.stderr
    made = store_of(labelled)
    keys, found = made("index", None).read()["key"].to_pylist(), made("predictions", None).read()
    logits = logits_by_hand(labelled, keys)
    known = ~np.isnan(logits[:, 0])
    predicted, is_right = (found[name].to_numpy() for name in ("predicted", "is_right"))
    assert found["image_id"].to_pylist() == list(range(48))
    assert (predicted[known] == logits[known].argmax(axis=1)).all()
    assert len(set(predicted[known])) > 1
    top = np.exp(logits[known]).max(axis=1) / np.exp(logits[known]).sum(axis=1)
    assert np.allclose(found["probability"].to_numpy()[known], top, atol=1e-5)
    true = np.array([{"bee": 1, "emu": 4, "wombat": -1}[key.split("/")[0]] for key in keys])
    assert (is_right == np.where(~known | (true < 0), -1, predicted == true)).all()
    num_right = int((is_right == 1).sum())
    assert 0 < num_right < 31
    assert f"the image's label for {num_right / 31:.1%} of 31 images" in result.stdout


def test_cells_have_the_share_of_wrong_predictions(labelled, atlas, store_of):
    assert atlas("run", labelled).exit_code == 0
    made = store_of(labelled)
    folder = Path(labelled["run"]["workspace"]) / "runs" / "small"
    run = json.loads((folder / "viewer" / "run.js").read_text()[len("atlas.receive(") : -len(");\n")])
    assert run["shares"][0] == {"column": "prediction", "value": "wrong"}
    text = (folder / LATE / "all" / "tiles-2" / "share-0.js").read_text()
    file = json.loads(text[len("atlas.receive(") : -len(");\n")])
    levels = np.frombuffer(zlib.decompress(base64.b64decode(file["levels"]["data"])), "<i2").astype(float)
    is_right = made("predictions", None).read()["is_right"].to_numpy()
    layout, cells = made("project", "all").read().to_pylist(), made("bin", "all").read().to_pylist()
    for level, cell in zip(levels, cells, strict=True):
        members = [
            is_right[one["image_id"]]
            for one in layout
            if (min(int(one["x"] * 2), 1), 1 - min(int(one["y"] * 2), 1)) == (cell["col"], cell["row"])
        ]
        known = [one for one in members if one >= 0]
        assert len(members) == cell["count"]
        if known:
            assert level * file["step"] == pytest.approx(known.count(0) / len(known), abs=1e-3)
        else:
            assert level == -32768


def test_batches_and_shards_do_not_change_predictions(labelled, atlas, store_of):
    assert atlas("sample", labelled).exit_code == 0
    first = store_of(labelled)("predictions", None).read()
    other = {**labelled, "sample": {**labelled["sample"], "shard_size": 48}}
    other["run"] = {**other["run"], "batch_size": 7}
    assert atlas("sample", other).exit_code == 0
    second = store_of(other)("predictions", None).read()
    assert second.drop_columns("probability").equals(first.drop_columns("probability"))
    assert np.allclose(second["probability"], first["probability"], atol=1e-6, equal_nan=True)


def test_images_without_a_class_of_the_network_are_refused(labelled, atlas, refused):
    images = Path(labelled["images"]["path"])
    for name in CLASSES[:2]:
        (images / name).rename(images / f"not a {name}")
    result = atlas("sample", labelled)
    refused(result, "sample.predictions", "no label is the name of a class", "leave it out")
    assert not list(Path(labelled["run"]["workspace"]).glob("cache/sample/*/part-*"))


def test_images_without_labels_are_refused(labelled, atlas, refused):
    images = Path(labelled["images"]["path"])
    for path in images.glob("*/*.png"):
        path.rename(images / f"{path.parent.name}-{path.name}")
    for name in CLASSES:
        (images / name).rmdir()
    refused(atlas("sample", labelled), "sample.predictions", "the images have none")
