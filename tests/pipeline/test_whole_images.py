"""The images that the viewer shows whole: those that appear as patches."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.run_settings import run_settings
from atlas_pipeline.stages.pages import whole_images

EARLY, LATE = "1", "4"


def value(path):
    return json.loads(path.read_text()[len("atlas.receive(") : -len(");\n")])


def array(one):
    dtype = np.dtype(one["type"].lower()).newbyteorder("<")
    return np.frombuffer(zlib.decompress(base64.b64decode(one["data"])), dtype)


def shown(folder):
    """images.js with its arrays, and the layers by name."""
    read = value(folder / "whole_images" / "images.js")
    for one in (read, *read["layers"]):
        one |= {name: array(item) for name, item in one.items() if isinstance(item, dict)}
    return read, {layer["name"]: layer for layer in read["layers"]}


def picture(folder, read, slot):
    file = value(folder / "whole_images" / f"pictures-{slot // read['aFile']}.js")
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(file)))).astype(int)
    row, col = divmod(slot % read["aFile"], 4)
    px = read["px"]
    return sheet[row * px : (row + 1) * px, col * px : (col + 1) * px]


@pytest.fixture
def run(small, atlas, tmp_path):
    small["layers"] = [EARLY, LATE]
    small["sample"]["positions_per_image"] = 2
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    return tmp_path / "workspace" / "runs" / "small", small


def patches(folder):
    """Ids of all images that appear as patches."""
    blocks = [value(path) for path in folder.rglob("block-*.js")]
    lists = [
        patch for block in blocks for of_cell in (*block["cells"], *block["ranges"]) for patch in of_cell
    ]
    return {patch[0] for patch in lists}


def test_they_are_those_of_the_patches_with_label_prediction_and_positions(run, store_of):
    from atlas_pipeline.models.network_cache import opened_network
    from atlas_pipeline.tables.chosen_images import images_of

    folder, small = run
    config, made = parse_config(small), store_of(small)
    read, layers = shown(folder)
    ids = read["imageId"].tolist()
    assert set(ids) == patches(folder)
    assert value(folder / "viewer" / "run.js")["wholeImages"] == len(ids)
    index, settings = made("index", None), run_settings(config)
    assert read["key"] == index.read(["key"])["key"].take(ids).to_pylist()
    labels = index.read(["label"])["label"].take(ids).to_pylist()
    assert [read["labels"][one] for one in read["label"].tolist()] == labels
    # The pictures, and the classes that the network predicts for the images as it receives them.
    network, images = opened_network(settings.model, "cpu"), images_of(index, ids, settings, "cpu")
    logits = network.logits(images).detach()
    predicted = [read["classes"][one] for one in read["predicted"].tolist()]
    assert predicted == logits.argmax(dim=1).tolist()
    probability = logits.softmax(dim=1).max(dim=1).values.numpy()
    assert read["probability"] / 1000 == pytest.approx(probability, abs=6e-4)
    names = [read["labelNames"][one] for one in read["label"].tolist()]
    predicted_names = [read["classNames"][one] for one in read["predicted"].tolist()]
    assert predicted_names == [network.class_names[one] for one in predicted]
    known = [name in network.class_names for name in names]
    assert read["isRight"].tolist() == [
        int(name == other) if is_known else -1
        for name, other, is_known in zip(names, predicted_names, known, strict=True)
    ]
    for slot in (0, len(ids) // 2, len(ids) - 1):
        wanted = images[slot].permute(1, 2, 0).numpy().astype(int)
        assert np.abs(picture(folder, read, slot) - wanted).mean() < 15
        others = np.abs(picture(folder, read, slot) - images[(slot + 3) % len(ids)].permute(1, 2, 0).numpy())
        assert np.abs(picture(folder, read, slot) - wanted).mean() < others.mean()
    # Every activation of these images, at its position and its place on the map of its layer.
    for layer in (EARLY, LATE):
        of_layer, layout = layers[layer], made("project", "all", layer).read().to_pylist()
        here = [(number % 2, one) for number, one in enumerate(layout) if one["image_id"] in set(ids)]
        assert [ids[slot] for slot in of_layer["slot"].tolist()] == [one["image_id"] for _, one in here]
        assert of_layer["ordinal"].tolist() == [ordinal for ordinal, _ in here]
        for name in ("row", "col"):
            assert of_layer[name].tolist() == [one[name] for _, one in here]
        assert (of_layer["x"] + 0.5) / 65536 == pytest.approx([one["x"] for _, one in here], abs=1e-4)
        assert (of_layer["y"] + 0.5) / 65536 == pytest.approx([1 - one["y"] for _, one in here], abs=1e-4)
        sample = made("sample", None, layer).read(["height", "width"]).slice(0, 1).to_pylist()[0]
        assert (of_layer["height"], of_layer["width"]) == (sample["height"], sample["width"])


def test_without_examples_there_are_none_and_no_task_runs(run, atlas):
    folder, small = run
    small["stitch"] = {"examples": 0}
    assert "0 tasks run" in atlas("run", small).stdout
    assert not (folder / "whole_images").exists()
    assert "wholeImages" not in value(folder / "viewer" / "run.js")


def test_their_number_is_bounded_and_every_layer_has_some(small, atlas, tmp_path, monkeypatch):
    monkeypatch.setattr(whole_images, "MAX_IMAGES", 7)
    small["layers"] = [EARLY, LATE]
    assert atlas("run", small).exit_code == 0
    folder = tmp_path / "workspace" / "runs" / "small"
    read, _ = shown(folder)
    assert len(read["imageId"]) == 7
    ids = set(read["imageId"].tolist())
    for layer in (EARLY, LATE):
        assert ids & patches(folder / layer)
