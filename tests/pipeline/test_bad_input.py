"""A user's mistake gives one clear line on stderr and exit code 2, and loses nothing."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

LATE = "4"


@pytest.fixture
def photos(small, tmp_path) -> dict:
    """Config of a run over 30 PNGs of noise."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number:02}.png")
    return {**small, "images": {"source": "folder", "path": str(folder)}}


def test_an_unknown_key_names_the_nearest(small, atlas, refused):
    refused(atlas("run", {**small, "grids": {}}), "'grids'", "nearest: 'grid'")


def test_colours_in_other_units_are_refused_before_anything_runs(small, atlas, refused):
    config = {**small, "model": {**small["model"], "preprocess": {"mean": 0.5}}}
    refused(
        atlas("status", config),
        "model.preprocess.mean is 0.5: must be three numbers",
        "write [0.5, 0.5, 0.5]",
    )
    config["model"]["preprocess"] = {"mean": [127.5] * 3, "std": [127.5] * 3}
    refused(atlas("status", config), "std: [0.5, 0.5, 0.5]")


def test_an_unknown_layer_names_the_nearest_before_anything_runs(small, atlas, tmp_path, refused):
    refused(atlas("run", {**small, "layers": ["44"]}), "'44'", "nearest: '4'")
    assert not list((tmp_path / "workspace").glob("cache/sample/*"))


def test_an_unknown_class_names_the_nearest(small, atlas, refused):
    config = {**small, "sample": {**small["sample"], "attribution": ["caat"]}}
    refused(atlas("run", config), "'caat'", "nearest: 'cat'")


def test_a_layer_without_a_spatial_map_isrefused(small, atlas, refused):
    refused(atlas("run", {**small, "layers": ["8"]}), "layer '8'", "no spatial map")


def test_a_missing_image_path_is_named(small, atlas, tmp_path, refused):
    images = {"source": "folder", "path": str(tmp_path / "nowhere")}
    refused(atlas("run", {**small, "images": images}), "nowhere")


def test_an_empty_folder_is_refused(small, atlas, tmp_path, refused):
    (tmp_path / "empty").mkdir()
    images = {"source": "folder", "path": str(tmp_path / "empty")}
    refused(atlas("run", {**small, "images": images}), "empty")


def _spoil(folder: Path) -> set[str]:
    """Add a good JPEG, a truncated one, a text named .jpg and an empty .png; returns the bad names."""
    good = folder / "good.jpg"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(good)
    (folder / "cut.jpg").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "text.jpg").write_text("this is not a picture\n" * 20)
    (folder / "nothing.png").write_bytes(b"")
    return {"cut.jpg", "text.jpg", "nothing.png"}


def test_what_is_no_image_is_counted_and_said(photos, atlas, tmp_path):
    (tmp_path / "photos/late.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "photos/lost.png").symlink_to("nowhere.png")
    (tmp_path / "photos/notes.txt").write_text("words")
    result = atlas("index", photos)
    line = (
        "2 entries of images.path left out: 1 HEIC, which is not read ('late.heic'); 1 symbolic link that "
        "leads nowhere ('lost.png'); not counting 1 companion (.txt). index's manifest names them"
    )
    assert line in result.stdout
    assert line in atlas("status", photos).stdout
    (manifest,) = (tmp_path / "workspace/cache/index").glob("*/manifest.json")
    notes = json.loads(manifest.read_text())["notes"]
    assert notes["num_found"] == 30
    assert notes["companions"] == {".txt": 1}
    assert [group["names"] for group in notes["left_out"]] == [["late.heic"], ["lost.png"]]


def test_keys_of_parquet_shards_are_of_parquet_shards(photos, atlas, refused):
    for key in ("root", "label_column"):
        images = {**photos["images"], key: "x"}
        refused(atlas("index", {**photos, "images": images}), f"{key} is for Parquet shards")


def test_labels_that_are_not_taken_are_said_until_named(small, atlas, tmp_path):
    import pyarrow as pa

    rows = []
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
        rows.append({"image": (tmp_path / "x.png").read_bytes(), "fine": number, "coarse": 0})
    metadata = {"info": {"features": {name: {"names": ["a", "b", "c"]} for name in ("fine", "coarse")}}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, tmp_path / "x.parquet")
    images = {"source": "parquet", "path": str(tmp_path / "x.parquet")}
    said = "which of fine, coarse is meant is not clear; set images.label_column"
    assert said in atlas("index", {**small, "images": images}).stdout
    named = {**small, "images": {**images, "label_column": "fine"}}
    assert "label_column" not in atlas("index", named).stdout
    labels = [
        pq.read_table(part)["label"].to_pylist()
        for part in sorted((tmp_path / "workspace/cache/index").glob("*/*.parquet"))
    ]
    assert sorted(labels) == [[-1] * 3, [0, 1, 2]]


def test_bad_images_are_counted_named_and_skipped(photos, atlas, tmp_path):
    spoilt = _spoil(tmp_path / "photos")
    photos["images"]["max_bad"] = 0.2
    result = atlas("run", photos)
    assert result.exit_code == 0, result.stderr
    assert "3 images could not be read" in result.stdout
    (manifest,) = (tmp_path / "workspace" / "cache" / "sample").glob("*/manifest.json")
    notes = json.loads(manifest.read_text())["notes"]
    assert {bad["key"] for bad in notes["bad"]} == spoilt
    assert all(bad["reason"] for bad in notes["bad"])
    rows = sum(pq.read_metadata(part).num_rows for part in manifest.parent.glob("part-*.parquet"))
    assert rows == 31


def test_too_many_bad_images_stop_the_run(photos, atlas, tmp_path, refused):
    _spoil(tmp_path / "photos")
    refused(atlas("run", photos), "images.max_bad", "cannot be read")


def test_weights_that_do_not_fit_name_the_keys(small, atlas, tmp_path, refused):
    save_file({"0.weight": torch.zeros(1, 2), "stranger": torch.zeros(1)}, tmp_path / "w.safetensors")
    config = {**small, "model": {**small["model"], "weights": str(tmp_path / "w.safetensors")}}
    refused(atlas("run", config), "stranger", "0.weight")


class _Bomb:
    def __reduce__(self):
        return (Path("exploded").touch, ())


def test_a_weights_file_runs_no_code(small, atlas, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").write_bytes(pickle.dumps(_Bomb()))
    config = {**small, "model": {**small["model"], "weights": str(tmp_path / "w.pt")}}
    refused(atlas("run", config), "w.pt")
    assert not (tmp_path / "exploded").exists()


def _network_with(tmp_path: Path, small: dict, last_bias: str) -> dict:
    """Config with one bias of the network's second convolution changed: to `nan`, or beyond float16."""
    source = (tmp_path / "network.py").read_text()
    (tmp_path / "broken.py").write_text(
        f"{source}\n\n_good = build\n\ndef build():\n    network = _good()\n"
        f"    network[3].bias.data[0] = float('{last_bias}')\n    return network\n"
    )
    return {**small, "model": {**small["model"], "name": f"{tmp_path}/broken.py:build"}}


def test_nan_activations_name_layer_and_image(small, atlas, tmp_path, refused, monkeypatch):
    config = _network_with(tmp_path, small, "nan")
    refused(atlas("sample", config), f"layer '{LATE}'", "NaN or infinite values for image")
    # Skip the refusal by the check, as if the images that it reads had no NaN.
    monkeypatch.setattr("atlas_pipeline.runs.make.refuse_failed", lambda *_, **__: None)
    refused(atlas("sample", config), f"layer '{LATE}'", "image 0", "NaN")


def test_activations_beyond_float16_are_stored_as_float32(small, atlas, tmp_path):
    config = _network_with(tmp_path, small, "1e6")
    config["model"]["preprocess"] = {"std": [0.25, 0.25, 0.25]}
    assert atlas("sample", config).exit_code == 0
    (manifest,) = (tmp_path / "workspace" / "cache" / "sample").glob("*/manifest.json")
    part = pq.read_table(manifest.parent / "part-00000.parquet")
    assert str(part.schema.field("activation").type.value_type) == "float"
    assert max(part["activation"][0].as_py()) > 65504
    assert atlas("bin", config).exit_code == 0


def test_too_few_activations_for_any_cell_says_what_would_work(small, atlas, refused):
    config = {**small, "grid": {"sizes": [40], "min_count": 30}}
    refused(atlas("run", config), "grid.min_count (30)", "grid.sizes=", "would work")
    # A grid that no layout could fill is refused before sampling.
    impossible = {**small, "grid": {"sizes": [3], "min_count": 1000}, "name": "impossible", "seed": 9}
    said = "the images give 60 activations, fewer than grid.min_count (1000)"
    refused(atlas("run", impossible), said, "lower grid.min_count to 6 or so")
    sampled = Path(small["run"]["workspace"]) / "cache" / "sample"
    assert len(list(sampled.glob("*"))) == 1


def test_no_deps_says_what_is_missing(small, atlas, refused):
    refused(atlas("bin", small, "--no-deps"), "needs index")
    assert atlas("index", small).exit_code == 0
    refused(atlas("bin", small, "--no-deps"), "needs sample")


def test_a_missing_gpu_is_told(small, atlas, refused):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(atlas("run", small, "--device", "cuda"), "cuda")


def test_a_workspace_that_cannot_be_written_is_told(small, atlas, tmp_path):
    (tmp_path / "file").write_text("")
    small["run"]["workspace"] = str(tmp_path / "file" / "workspace")
    result = atlas("run", small)
    assert result.exit_code == 2, result.stderr
    assert "workspace" in result.stderr


@pytest.mark.parametrize("command", ["run", "status", "view", "clean", "export"])
def test_a_workspace_in_another_users_folder_is_told(small, atlas, may_not_look, tmp_path, command, refused):
    small["run"]["workspace"] = str(tmp_path / "theirs" / "workspace")
    may_not_look(tmp_path / "theirs")
    refused(atlas(command, small), "theirs", "permission denied")


def test_where_an_archive_may_not_be_written_is_told(small, finished, atlas, may_not_look, tmp_path, refused):
    finished(small)
    may_not_look(tmp_path / "theirs")
    refused(atlas("export", small, "-o", str(tmp_path / "theirs" / "out.zip")), "theirs", "permission denied")


def test_an_artefact_cut_short_or_flipped_is_found_and_made_again(small, finished, atlas, states, tmp_path):
    finished(small)
    cache = tmp_path / "workspace" / "cache"
    (part,) = (cache / "bin").glob("*/part-00000.parquet")
    whole = part.read_bytes()
    for spoilt in (whole[: len(whole) // 2], whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]):
        part.write_bytes(spoilt)
        assert states(small)[f"bin {LATE} all 3"] != "done"
        assert atlas("run", small).exit_code == 0
        assert pq.read_table(part).equals(pq.read_table(part))
        assert set(states(small).values()) == {"done"}


def test_the_command_line_itself_exits_with_2(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"name": "x"}))
    call = [sys.executable, "-m", "atlas_pipeline", "status", str(config)]
    result = subprocess.run(call, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
