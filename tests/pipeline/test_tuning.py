"""`atlas tuning` on a network of hand-made filters, whose family is known; bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from atlas_pipeline.cli.main import main
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.tuning_table import known_families, maps_of

# Eight curved filters, 45 degrees apart. Turned by 180 degrees a filter is another one, and so is its
# negative at any turn. Then a blob, a dead unit, and a straight filter.
ORACLE = """
import math
import torch
from torch import nn

PREPROCESS = dict(resize=48, crop=48, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
LABELS = ["ant", "bee"]
SIDE = 15

def gabor(degrees, frequency=0.15, bend=0.25):
    place = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    x, y = place[None, :], -place[:, None]  # y points up
    angle = math.radians(degrees)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = -x * math.sin(angle) + y * math.cos(angle)
    away = along - bend * across**2 / 2
    kernel = torch.cos(2 * math.pi * frequency * away) * torch.exp(-(away**2) / 4.5 - across**2 / 32)
    return kernel - kernel.mean()

def blob():
    place = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    square = place[None, :] ** 2 + place[:, None] ** 2
    return torch.exp(-square / 8) - 0.25 * torch.exp(-square / 32)

def kernels():
    found = [gabor(45 * number) for number in range(8)]
    return [*found, blob(), torch.zeros(SIDE, SIDE), gabor(20, frequency=0.3, bend=0)]

def build():
    conv = nn.Conv2d(3, 11, SIDE, padding=SIDE // 2)
    conv.weight.data = torch.stack(kernels())[:, None].expand(-1, 3, -1, -1).float().clone() / 10
    conv.bias.data.zero_()
    return nn.Sequential(
        conv, nn.ReLU(), nn.MaxPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(11, 2)
    )
"""
LAYER, BLOB, DEAD = "1", 8, 9
TUNING = {
    "num_orientations": 16,
    "curvatures": [0, 0.5, 1],
    "corner_radii": [],
    "num_patches": 24,
    # Shuffled kernels this small agree by up to 0.8.
    "min_agreement": 0.9,
}


def oracle_in(folder, small):
    """Write the oracle's network to a folder, and return the config for it."""
    (folder / "network.py").write_text(ORACLE)
    return {**small, "layers": [LAYER], "tuning": TUNING, "units": {"first_images": 40, "num_top": 9}}


@pytest.fixture
def oracle(small, tmp_path):
    return oracle_in(tmp_path, small)


def altered(tmp_path, code):
    """Change the oracle's kernels, a list of (SIDE, SIDE) tensors named `found`."""
    path = tmp_path / "network.py"
    path.write_text(path.read_text().replace("    return [*found,", f"    {code}\n    return [*found,"))


def made(config, stage):
    parsed = parse_config(config)
    (step,) = [step for step in steps_of(parsed) if step.stage.name == stage and step.layer == LAYER]
    return artefact_of(step, Store(parsed.run.workspace))


def families_of(config):
    return known_families(made(config, "tuning_families"))


def folder_of(config):
    return Path(config["run"]["workspace"]) / "runs" / config["name"] / LAYER / "tuning"


@pytest.fixture(scope="module")
def done(small_in, tmp_path_factory):
    """The config of a finished run that tests only read."""
    folder = tmp_path_factory.mktemp("oracle")
    config = oracle_in(folder, small_in(folder))
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(main, ["tuning", str(folder / "run.yaml")])
    assert result.exit_code == 0, result.stderr
    assert f"{LAYER}: 1 dead unit in no family" in result.stdout
    return config


def test_the_family_is_found_in_order_with_its_rotations(done):
    (family,) = families_of(done)
    assert family.period == 360
    assert sorted(family.members.tolist()) == list(range(8))
    first = int(np.flatnonzero(family.members == 0)[0])
    # From the first filter on, every member is turned by 45 degrees more, counterclockwise.
    assert np.roll(family.members, -first).tolist() == list(range(8))
    turned = np.roll(family.orientation, -first) - family.orientation[first]
    assert np.allclose(np.mod(turned + 22.5, 360) - 22.5, 45 * np.arange(8), atol=3)
    # The first filter is its own mirror image in the axis at 0 degrees, and its responses are too.
    own = maps_of(made(done, "tuning_responses"))[0]
    assert np.corrcoef(own.ravel(), own[-np.arange(16)].ravel())[0, 1] > 0.98
    assert (family.agreement > 0.98).all()
    units = made(done, "tuning_families").read().to_pylist()
    assert units[BLOB]["family"] == -1
    assert units[BLOB]["oriented_share"] < 0.1


def test_real_patches_agree_with_the_stimuli(done):
    (family,) = json.loads((folder_of(done) / "families.json").read_text())["families"]
    assert family["real"]["num_patches"] == 24
    assert family["real"]["correlation"] > 0.5
    assert [member["unit"] for member in family["members"]] == families_of(done)[0].members.tolist()
    rows = made(done, "tuning_patches").read().to_pylist()
    (known,) = families_of(done)
    above = []
    for row in rows:
        member = known.members.tolist().index(row["unit"])
        responses = np.reshape(row["response"], (16, 8))[:, member]
        above.append(responses[round(known.orientation[member] / 22.5) % 16] - responses.mean())
    # A patch was chosen because it drives the unit as it stands in its image.
    assert np.mean(above) > 1


def test_figure_and_tables_are_in_the_runs_folder(done):
    folder = folder_of(done)
    assert Image.open(folder / "family-1.png").width > 1000
    rows = list(csv.DictReader((folder / "units.csv").open()))
    assert [row["family"] for row in rows] == ["1"] * 8 + [""] * 3
    document = json.loads((folder / "families.json").read_text())
    assert len(document["stimuli"]["orientations"]) == 16
    assert document["num_dead"] == 1
    # The oracle has few shapes, so shuffled maps agree more than in a real layer.
    assert 0 < document["null"]["agreement"] < 0.9


def test_pages_of_units_name_the_figure_of_their_family(done, atlas):
    config = {**done, "units": {**done["units"], "icons": [], "num_weights": 0}}
    assert atlas("units", config).exit_code == 0
    run = (folder_of(done).parents[1] / "units" / "run.js").read_text()
    (layer,) = json.loads(run.removeprefix("atlas.receive(").removesuffix(");\n"))["layers"]
    ((file, units),) = layer["families"].items()
    assert sorted(units) == list(range(8))
    assert (folder_of(done).parents[1] / file).samefile(folder_of(done) / "family-1.png")


def test_inputs_of_a_copied_layer_are_the_units_that_it_copies(oracle, atlas, tmp_path):
    """A second layer copies every other position, so a member has one input: the unit of its own number."""
    path = tmp_path / "network.py"
    copied = "copy(), nn.ReLU(), nn.MaxPool2d(4), nn.AdaptiveAvgPool2d(1)"
    path.write_text(
        path.read_text().replace("nn.MaxPool2d(4), nn.AdaptiveAvgPool2d(1)", copied)
        + """
def copy():
    conv = nn.Conv2d(11, 11, 1, stride=2, bias=False)
    conv.weight.data = torch.eye(11)[:, :, None, None]
    return conv
"""
    )
    later = "3"
    assert atlas("tuning", {**oracle, "layers": [later]}).exit_code == 0
    folder = folder_of(oracle).parents[1] / later / "tuning"
    document = json.loads((folder / "families.json").read_text())
    assert document["inputs_layer"] == LAYER
    (family,) = document["families"]
    assert sorted(member["unit"] for member in family["members"]) == list(range(8))
    for member in family["members"]:
        assert member["inputs"][0] == {"unit": member["unit"], "share": pytest.approx(1, abs=1e-6)}
        assert all(one["share"] < 1e-6 for one in member["inputs"][1:])


def test_icons_of_the_members_can_be_left_out(done, atlas):
    config = {**done, "name": "plain", "tuning": {**TUNING, "icons": False}}
    assert atlas("tuning", config).exit_code == 0
    heights = [Image.open(folder_of(one) / "family-1.png").height for one in (done, config)]
    assert heights[1] < heights[0]


def test_an_inverted_filter_leaves_the_family(oracle, atlas, tmp_path):
    altered(tmp_path, "found[3] = -found[3]")
    assert atlas("tuning", oracle).exit_code == 0
    (family,) = families_of(oracle)
    assert sorted(family.members.tolist()) == [0, 1, 2, 4, 5, 6, 7]


def test_shuffled_weights_leave_no_family(oracle, atlas, tmp_path):
    shuffled = "k.ravel()[torch.randperm(SIDE**2, generator=torch.Generator().manual_seed(i))]"
    altered(tmp_path, f"found = [{shuffled}.view(SIDE, SIDE) for i, k in enumerate(found)]")
    result = atlas("tuning", oracle)
    assert result.exit_code == 0, result.stderr
    assert families_of(oracle) == []
    assert "0 families" in result.stdout
    assert json.loads((folder_of(oracle) / "families.json").read_text())["families"] == []


def test_the_batch_size_changes_responses_by_rounding_only(done, atlas):
    other = {**done, "name": "other", "run": {**done["run"], "batch_size": 5}}
    other["run"]["workspace"] += "-other"
    assert atlas("tuning", other).exit_code == 0
    one, two = (maps_of(made(config, "tuning_responses")) for config in (done, other))
    assert np.allclose(one, two, atol=1e-4)
    assert families_of(done)[0].members.tolist() == families_of(other)[0].members.tolist()


def test_a_second_run_does_nothing(done, atlas):
    assert "0 tasks run" in atlas("tuning", done).stdout


def test_a_dead_unit_is_in_no_family(done):
    unit = made(done, "tuning_families").read().to_pylist()[DEAD]
    assert unit["is_dead"]
    assert unit["family"] == -1
    assert not maps_of(made(done, "tuning_responses"))[DEAD].any()


def test_private_images_stay_out_of_the_patches(done, atlas):
    config = {**done, "name": "private", "stitch": {"examples": 0}}
    assert atlas("tuning", config).exit_code == 0
    patches = made(config, "tuning_patches").read().to_pylist()
    assert len(patches) == 24
    assert {row["patch"] for row in patches} == {None}
    icons = made(config, "tuning_icons")
    assert icons.num_rows == 8
    assert {row["inputs_icon"] for row in icons.read().to_pylist()} == {None}


def test_a_unit_without_a_family_gets_no_figure(done, atlas):
    config = {**done, "name": "only", "tuning": {**TUNING, "only": [f"{LAYER}:{BLOB}"]}}
    result = atlas("tuning", config)
    assert result.exit_code == 0, result.stderr
    assert f"{LAYER}: unit {BLOB} is in no family" in result.stdout
    assert not (folder_of(config) / "family-1.png").exists()


def test_a_unit_of_tuning_that_is_not_there_names_the_nearest(oracle, atlas, refused):
    config = {**oracle, "tuning": {**TUNING, "only": [f"{LAYER}:11"]}}
    refused(atlas("tuning", config), "tuning.only", f"'{LAYER}:11' is not there", f"nearest: '{LAYER}:10'")


def test_a_layer_of_tuning_that_is_not_there_names_the_nearest(oracle, atlas, refused):
    refused(atlas("tuning", {**oracle, "tuning": {"layers": ["11"]}}), "'11'", "nearest: '1'")
    only = {"layers": [LAYER], "only": ["3:1"]}
    refused(atlas("tuning", {**oracle, "tuning": only}), "layer '3' of '3:1'", f"nearest: '{LAYER}'")


def test_tuning_of_a_layer_without_a_map_is_refused(oracle, atlas, refused):
    refused(atlas("tuning", {**oracle, "tuning": {"layers": ["5"]}}), "layer '5'", "no spatial map")


def test_a_config_without_tuning_is_told_how_to_ask_for_it(small, atlas, refused):
    refused(atlas("tuning", small), "add `tuning: {}`", "tuning.layers")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_orientations": 10}, "num_orientations"),
        ({"curvatures": [1, 0]}, "must rise"),
        ({"corner_radii": [0, 0]}, "must rise"),
    ],
)
def test_stimuli_that_make_no_sense_are_refused(oracle, atlas, refused, change, message):
    refused(atlas("status", {**oracle, "tuning": {**TUNING, **change}}), "tuning", message)
