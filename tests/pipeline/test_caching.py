"""Which stages a change makes run again, read from `atlas status --json`."""

import copy
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from atlas_pipeline.runs import make

EARLY, LATE = "1", "4"
AFTER_INVERT = {"stitch", "tiles"}
AFTER_BIN = {"bin", "invert", "examples", "members", "names", "shares", "whole_images", *AFTER_INVERT}
AFTER_SUMS = {"cell_sums", *AFTER_BIN}
AFTER_PROJECT = {"plot", "places", *AFTER_SUMS}


def _changed(config: dict, key: str, value: object) -> dict:
    config = copy.deepcopy(config)
    section = config
    *parents, last = key.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return config


def _to_run(states: dict[str, str]) -> set[str]:
    return {step for step, state in states.items() if state != "done"}


@pytest.fixture
def done(small, finished) -> dict:
    return finished(small)


def test_a_finished_run_is_done_and_runs_no_task_again(done, atlas, states):
    assert set(states(done).values()) == {"done"}
    again = atlas("run", done)
    assert "0 tasks run" in again.stdout


def test_another_grid_runs_bin_invert_and_stitch_and_keeps_the_size_that_stays(done, states):
    changed = states(_changed(done, "grid.sizes", [3, 2]))
    # The names of a map are those of all its grids, and the images shown whole those of all patches.
    of_grid = {f"{stage} {LATE} all 2" for stage in AFTER_SUMS - {"names", "whole_images"}}
    assert _to_run(changed) == of_grid | {f"names {LATE} all", "whole_images"}


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("invert.steps", 3, {"invert", *AFTER_INVERT}),
        ("stitch.scale", "full", {"stitch"}),
        ("grid.min_count", 3, AFTER_BIN),
        ("project.min_dist", 0.3, {"project", *AFTER_PROJECT}),
        ("project.num_neighbors", 6, {"neighbors", "project", *AFTER_PROJECT}),
        (
            "sample.maxpool_gradient",
            "exact",
            {"check", "sample", "neighbors", "project", "whiten", *AFTER_PROJECT},
        ),
        ("run.batch_size", 7, set()),
        ("run.workers", 1, set()),
        ("images.max_bad", 0.5, set()),
        ("name", "another", set()),
    ],
)
def test_a_change_runs_what_it_affects_and_nothing_else(done, states, key, value, stages):
    assert {step.split()[0] for step in _to_run(states(_changed(done, key, value)))} == stages


def test_crops_follow_the_preprocessing_of_the_networks_own_file(done, atlas, tmp_path):
    """The preprocessing is in the network's code, not in the config."""
    store, crops = tmp_path / "workspace" / "cache" / "crops", set()
    for crop in (32, 24):
        text = (tmp_path / "network.py").read_text()
        (tmp_path / "network.py").write_text(text.replace("crop=32", f"crop={crop}"))
        assert atlas("run", done).exit_code == 0
        crops.add(len(list(store.iterdir())))
    assert crops == {1, 2}


def test_listing_images_opens_no_network(small, atlas, monkeypatch):
    monkeypatch.setattr(make, "opened_network", lambda *_: pytest.fail("opened"))
    assert atlas("index", small).exit_code == 0


def test_one_more_layer_samples_that_layer_alone(done, atlas, states):
    more = _changed(done, "layers", [LATE, EARLY])
    to_run = _to_run(states(more)) - {"whole_images"}  # images of the patches of all layers
    assert to_run
    assert all(step.split()[1] == EARLY for step in to_run)
    before = states(done)
    assert atlas("run", more).exit_code == 0
    assert set(states(more).values()) == {"done"}
    assert states(done) == before


@pytest.fixture
def photos(small, tmp_path) -> dict:
    """Config of the small run over a folder of PNGs in two classes."""
    rng = np.random.default_rng(0)
    for label in ("day", "night"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    return {**small, "images": {"source": "folder", "path": str(tmp_path / "photos")}}


def test_a_renamed_folder_of_the_same_images_samples_nothing(photos, atlas, states, tmp_path):
    assert atlas("run", photos).exit_code == 0
    os.rename(tmp_path / "photos", tmp_path / "pictures")
    renamed = _changed(photos, "images.path", str(tmp_path / "pictures"))
    assert _to_run(states(renamed)) <= {"index"}
    assert atlas("index", renamed).exit_code == 0
    assert _to_run(states(renamed)) == set()


def test_a_copied_folder_is_listed_again_and_samples_nothing(photos, atlas, states, tmp_path):
    assert atlas("run", photos).exit_code == 0
    # shutil.copy gives new modification times, as a download would.
    shutil.copytree(tmp_path / "photos", tmp_path / "copy", copy_function=shutil.copy)
    copied = _changed(photos, "images.path", str(tmp_path / "copy"))
    assert atlas("index", copied).exit_code == 0
    assert _to_run(states(copied)) == set()


def test_a_changed_image_is_seen_and_samples_anew(photos, atlas, states, tmp_path):
    assert atlas("run", photos).exit_code == 0
    Image.new("RGB", (32, 32), "red").save(tmp_path / "photos" / "day" / "3.png")
    assert "index" in _to_run(states(photos))
    assert atlas("index", photos).exit_code == 0
    assert f"sample {LATE}" in _to_run(states(photos))


def test_changed_weights_run_everything_that_used_them(small, atlas, states, tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("network", tmp_path / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = Path(tmp_path / "weights.safetensors")
    state = module.build().state_dict()
    save_file(state, weights)
    config = _changed(small, "model.weights", str(weights))
    assert atlas("run", config).exit_code == 0
    moved = tmp_path / "moved.safetensors"
    shutil.copy(weights, moved)
    assert _to_run(states(_changed(config, "model.weights", str(moved)))) == set()
    save_file({name: tensor * 1.1 for name, tensor in state.items()}, weights)
    # keys: images without class names of their own take the network's.
    used = {"check", "sample", "neighbors", "project", "whiten", "crops", "keys", *AFTER_PROJECT}
    assert {step.split()[0] for step in _to_run(states(config))} == used


def test_a_dropped_grid_leaves_the_run_folder_and_clean_removes_its_artefacts(done, atlas, tmp_path):
    two = _changed(done, "grid.sizes", [3, 2])
    assert atlas("run", two).exit_code == 0
    folder = tmp_path / "workspace" / "runs" / "small" / LATE / "all"
    assert (folder / "atlas-2.png").is_file()
    assert atlas("run", done).exit_code == 0
    assert not (folder / "atlas-2.png").exists()
    listed = atlas("clean", done)
    assert "would remove 10 artefacts" in listed.stdout
    assert "removed 10 artefacts" in atlas("clean", done, "--yes").stdout
    assert "nothing to remove" in atlas("clean", done).stdout
    assert "0 tasks run" in atlas("run", done).stdout
