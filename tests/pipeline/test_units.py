"""`atlas units` on a small network: examples as a plain loop finds them, pages, reruns, bad input."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.unit_state import FIELDS
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.chosen_images import images_of
from atlas_pipeline.tables.unit_table import state_of

EARLY, LATE = "1", "4"
UNITS = {
    "layers": [EARLY, LATE],
    "only": [f"{LATE}:3", f"{LATE}:7", f"{EARLY}:2"],
    "shard_size": 25,
    "first_images": 20,
    "num_diverse": 1,
    "num_weights": 2,
}


@pytest.fixture
def units(small):
    return {**small, "units": UNITS}


def made(config, stage, layer):
    """A finished artefact and its step."""
    parsed = parse_config(config)
    (step,) = [step for step in steps_of(parsed) if step.stage.name == stage and step.layer == layer]
    return artefact_of(step, Store(parsed.run.workspace)), step


def unit_file(config, name, layer=LATE):
    path = Path(config["run"]["workspace"]) / "runs" / config["name"] / layer / "units" / name
    text = path.read_text()
    assert text.startswith("atlas.receive(")
    return json.loads(text.removeprefix("atlas.receive(").removesuffix(");\n"))


def brute_force(config, layer):
    """Values before the ReLU of every image, position and unit, computed one image at a time by hand."""
    index, step = made(config, "index", None)
    spec = step.settings.model
    network = opened_network(spec, "cpu")
    convolutions = {EARLY: 0, LATE: 3}
    values = []
    with torch.no_grad():
        for image_id in range(index.num_rows):
            image = images_of(index, [image_id], step.settings, "cpu")
            x = network.normalise(image)
            for number, module in enumerate(network.module):
                x = module(x)
                if number == convolutions[layer]:
                    break
            values.append(x[0].numpy())
    return np.stack(values)


def state(config, layer=LATE):
    artefact, _ = made(config, "unit_examples", layer)
    return state_of(artefact.read(), 7)


@pytest.fixture
def done(units, atlas):
    result = atlas("units", units)
    assert result.exit_code == 0, result.stderr
    return units


def test_examples_and_counts_agree_with_a_pass_image_by_image(done):
    values, found = brute_force(done, LATE), state(done)
    assert values.shape[:2] == (60, 12)
    spread = made(done, "unit_spread", LATE)[0].read()
    assert spread["is_before_relu"].to_pylist() == [True] * 12
    highest = values.reshape(60, 12, -1).max(2)
    for unit in range(12):
        order = sorted(range(60), key=lambda i, unit=unit: (-highest[i, unit], i))[:9]
        assert np.allclose(found.top_value[unit], highest[order, unit], atol=1e-5)
        # Equal up to rounding: other batches use other kernels.
        assert [
            i
            for i, j in zip(found.top_image[unit], order, strict=True)
            if i != j and abs(highest[i, unit] - highest[j, unit]) > 1e-5
        ] == []
        for image, place in zip(found.top_image[unit], found.top_place[unit], strict=True):
            assert values[image, unit].ravel()[place] == pytest.approx(highest[image, unit], abs=1e-5)
    assert found.counts.sum(1).tolist() == [60 * values[0, 0].size] * 12
    assert np.abs(found.num_positive - (values > 0).sum((0, 2, 3))).max() <= 1
    assert np.allclose(found.total, values.sum((0, 2, 3), dtype=float), rtol=1e-4, atol=1e-3)
    assert np.allclose(found.sums.sum(1), np.maximum(values, 0).sum((0, 2, 3), dtype=float), rtol=1e-4)


def test_examples_of_ranges_have_the_values_that_they_claim(done):
    values, found = brute_force(done, LATE), state(done)
    spread = made(done, "unit_spread", LATE)[0].read()
    mean, sd = spread["mean"].to_numpy(), spread["sd"].to_numpy()
    borders = np.array([-np.inf, -1, 0, 1, 2, 4, 8, np.inf])
    num_checked = 0
    for unit, number, slot in np.argwhere(found.range_image >= 0):
        image, place = found.range_image[unit, number, slot], found.range_place[unit, number, slot]
        value = values[image, unit].ravel()[place]
        assert found.range_value[unit, number, slot] == pytest.approx(value, abs=1e-5)
        assert borders[number] - 1e-4 <= (value - mean[unit]) / sd[unit] < borders[number + 1] + 1e-4
        num_checked += 1
    assert num_checked > 12 * 20


@pytest.mark.parametrize("changed", [{"shard_size": 60}, {"shard_size": 7}])
def test_neither_parts_nor_batches_change_the_examples(done, atlas, changed):
    first = state(done)
    other = {**done, "name": "other", "units": {**UNITS, **changed}}
    other["run"] = {**done["run"], "batch_size": 5}
    assert atlas("units", other).exit_code == 0
    second = state(other)
    for name in FIELDS:
        one, two = getattr(first, name), getattr(second, name)
        if one.dtype.kind == "f":
            assert np.allclose(one, two, rtol=1e-4, atol=1e-4), name
        else:
            # A value within rounding of a border may fall to its other side.
            assert (one != two).mean() < 0.01, name


def test_a_page_holds_what_was_found(done):
    found, page = state(done), unit_file(done, "unit-3.js")
    assert page["layer"] == LATE
    assert sum(page["histogram"]["counts"]) == found.counts[3].sum()
    assert page["most"] == pytest.approx(found.top_value[3, 0], rel=1e-5)
    assert sum(page["shares"]) == pytest.approx(1, abs=1e-4)
    patches = page["patches"]
    assert [one[2] for one in patches["top"]] == [str(i) for i in found.top_image[3]]
    sheet = Image.open(io.BytesIO(base64.b64decode(patches["picture"])))
    num_slots = 9 + 7 * 6
    assert sheet.size == (9 * patches["px"], -(-num_slots // 9) * patches["px"])
    assert all(0 <= one[4] <= 1 and 0 <= one[5] <= 1 for one in patches["top"])
    kinds = [kind for kind, _ in page["icons"]["kinds"]]
    assert kinds == ["neuron", "negative", "channel", "channel_negative", "diverse-1"]
    assert page["classes"]["for"]
    assert page["weights"]["before"]["list"]
    listed = unit_file(done, "list.js")
    assert [one["unit"] for one in listed["units"]] == [3, 7]


def test_a_second_run_does_nothing_and_another_unit_passes_no_image_again(done, atlas):
    assert "0 tasks run" in atlas("units", done).stdout
    more = {**done, "units": {**UNITS, "only": [f"{LATE}:5"]}}
    result = atlas("units", more)
    assert result.exit_code == 0, result.stderr
    assert "unit_values" not in result.stderr
    assert unit_file(more, "unit-5.js")["unit"] == 5
    folder = Path(more["run"]["workspace"]) / "runs" / "small" / LATE / "units"
    assert not (folder / "unit-3.js").exists()


def test_private_images_stay_out_of_the_pages(units, atlas):
    config = {**units, "stitch": {"examples": 0}}
    assert atlas("units", config).exit_code == 0
    assert unit_file(config, "unit-3.js")["patches"] is None


def test_with_the_atlas_cells_and_units_name_each_other(units, atlas):
    result = atlas("run", units)
    assert result.exit_code == 0, result.stderr
    folder = Path(units["run"]["workspace"]) / "runs" / "small"
    text = (folder / LATE / "all" / "unit-cells.js").read_text()
    cells = json.loads(text.removeprefix("atlas.receive(").removesuffix(");\n"))
    binned, _ = made(units, "bin", LATE)
    table = binned.read(["row", "col", "activation"])
    means = {
        (row, col): activation[3]
        for row, col, activation in zip(*(column.to_pylist() for column in table.columns), strict=True)
    }
    best = max(means, key=lambda place: means[place])
    assert cells["grid"] == 3
    assert tuple(cells["units"]["3"][0][:2]) == best
    assert cells["units"]["3"][0][2] == pytest.approx(means[best], rel=1e-3)
    assert set(cells["cells"]) == {f"{row}.{col}" for row, col in means}
    # No cell names a unit without a page.
    assert {unit for of_cell in cells["cells"].values() for unit in of_cell} == {3, 7}
    run = (folder / "units" / "run.js").read_text()
    assert '"cells":true' in run
    assert not (folder / EARLY / "all").exists()


def test_a_dead_units_page_says_so(units, atlas, tmp_path):
    network = tmp_path / "network.py"
    network.write_text(
        network.read_text()
        .replace(
            "    return nn.Sequential(",
            "    dead = nn.Conv2d(8, 12, 3, padding=1)\n"
            "    torch.nn.init.zeros_(dead.weight[3])\n"
            "    dead.bias.data[3] = -1.5\n"
            "    dead.bias.data[7] = -1e4\n"
            "    return nn.Sequential(",
        )
        .replace("nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()", "dead, nn.ReLU()")
    )
    result = atlas("units", units)
    assert result.exit_code == 0, result.stderr
    assert "4: 2 of 2 units are dead" in result.stdout
    assert "it has the value -1.5 at every position" in unit_file(units, "unit-3.js")["dead"]
    assert "it never fires in 60 images" in unit_file(units, "unit-7.js")["dead"]
    assert unit_file(units, "unit-2.js", EARLY)["dead"] == ""


def test_a_unit_that_is_not_there_names_the_nearest(units, atlas, refused, tmp_path):
    config = {**units, "units": {**UNITS, "only": [f"{LATE}:12"]}}
    refused(atlas("units", config), "'4:12' is not there", "12 units", "nearest: '4:11'")
    assert not list((tmp_path / "workspace").glob("cache/unit_*"))


def test_a_layer_of_units_that_is_not_there_names_the_nearest(units, atlas, refused):
    refused(atlas("units", {**units, "units": {"layers": ["44"]}}), "'44'", "nearest: '4'")
    only = {"layers": [LATE], "only": ["5:1"]}
    refused(atlas("units", {**units, "units": only}), "layer '5' of '5:1'", "nearest: '4'")


def test_units_of_a_layer_without_a_map_are_refused(units, atlas, refused):
    refused(atlas("units", {**units, "units": {"layers": ["8"]}}), "layer '8'", "no spatial map")


def test_a_config_without_units_is_told_how_to_ask_for_them(small, atlas, refused):
    refused(atlas("units", small), "add `units: {}`", "units.only")


def test_ranges_must_rise(units, atlas, refused):
    refused(atlas("status", {**units, "units": {"ranges": [1, 0]}}), "units", "must rise")


def test_bad_images_among_good_ones_are_named_and_left_out(units, atlas, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number:02}.png")
    (folder / "05b.png").write_bytes(b"\x89PNG but not really")
    config = {**units, "images": {"source": "folder", "path": str(folder), "max_bad": 0.1}}
    result = atlas("units", config)
    assert result.exit_code == 0, result.stderr
    assert "1 images could not be read and are not among the units' examples" in result.stdout
    assert state(config).num_images.tolist() == [30] * 12
    notes = made(config, "unit_values", LATE)[0].notes
    assert [one["key"] for one in notes["bad"]] == ["05b.png"]


def test_too_many_bad_images_stop_the_pass(units, atlas, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        Image.fromarray(np.full((32, 32, 3), 20 * number, np.uint8)).save(folder / f"{number:02}.png")
    for number in range(5):
        (folder / f"bad{number}.png").write_bytes(b"no")
    config = {**units, "images": {"source": "folder", "path": str(folder), "max_bad": 0.1}}
    result = atlas("units", config)
    assert result.exit_code != 0
    assert "more than images.max_bad allows" in result.stderr
