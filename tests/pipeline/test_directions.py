"""`atlas directions` on a small network: numbers as a plain loop finds them, pages, reruns, bad input."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.population import layout_xy
from atlas_pipeline.tables.unit_table import state_of

LATE, NUM_CHANNELS, NUM_ATOMS = "4", 12, 5
RANGES = 6


@pytest.fixture
def directions(small):
    return {
        **small,
        "sample": {"shard_size": 25, "positions_per_image": 3},
        "directions": {"num_atoms": NUM_ATOMS},
    }


def made(config, stage, layer=LATE):
    parsed = parse_config(config)
    (step,) = [s for s in steps_of(parsed) if s.stage.name == stage and s.layer == layer]
    return artefact_of(step, Store(parsed.run.workspace))


def folder(config):
    return Path(config["run"]["workspace"]) / "runs" / config["name"]


def page_file(config, name):
    text = (folder(config) / LATE / "directions" / name).read_text()
    return json.loads(text.removeprefix("atlas.receive(").removesuffix(");\n"))


@pytest.fixture
def done(directions, atlas):
    result = atlas("directions", directions)
    assert result.exit_code == 0, result.stderr
    assert str(folder(directions) / "directions" / "index.html") in result.stdout
    return directions


def decoder_config(directions, path, **others):
    return {**directions, "directions": {"method": "file", "file": str(path), **others}}


def dense(config):
    """Strengths and parts (activation, atom) of a finished run, from its sparse table."""
    table = made(config, "atom_strengths").read()
    found = np.zeros((2, table.num_rows, made(config, "atoms").num_rows))
    for row, (atoms, strengths, parts) in enumerate(
        zip(*(table[name].to_pylist() for name in ("atoms", "strengths", "parts")), strict=True)
    ):
        found[0, row, atoms], found[1, row, atoms] = strengths, parts
    return found


def test_atoms_make_up_the_activations_as_their_numbers_say(done):
    activations = column_matrix(made(done, "sample").read(["activation"]), "activation").astype(float)
    atoms = column_matrix(made(done, "atoms").read(["direction"]), "direction")
    assert atoms.shape == (NUM_ATOMS, NUM_CHANNELS)
    strengths, parts = dense(done)
    rest = activations - strengths @ atoms
    energy = np.square(activations).sum(1)
    table, examples = made(done, "atom_strengths").read(), made(done, "atom_examples")
    assert table["left"].to_numpy() * energy == pytest.approx(np.square(rest).sum(1), abs=1e-4)
    shares = examples.read(["share"])["share"].to_numpy()
    assert shares == pytest.approx((parts * energy[:, None]).sum(0) / energy.sum(), abs=1e-5)
    assert shares.sum() + examples.notes["left"] == pytest.approx(1, abs=1e-5)
    # Atom 0 carries most, and nothing beats the singular vectors.
    assert list(shares) == sorted(shares, reverse=True)
    assert made(done, "atoms").notes["least_left"] <= examples.notes["left"] + 1e-6


def test_examples_of_an_atom_are_where_it_is_strongest(done):
    state = state_of(made(done, "atom_examples").read(), RANGES)
    sample = made(done, "sample").read(["image_id", "row", "col", "width"]).to_pydict()
    strengths = dense(done)[0]
    place = np.array(sample["row"]) * np.array(sample["width"]) + np.array(sample["col"])
    images = np.array(sample["image_id"])
    for atom in range(NUM_ATOMS):
        best = {image: strengths[images == image, atom].max() for image in range(60)}
        order = sorted(best, key=lambda image, best=best: (-best[image], image))[:9]
        assert state.top_image[atom].tolist() == order
        top = (one[atom] for one in (state.top_image, state.top_value, state.top_place))
        for image, value, where in zip(*top, strict=True):
            assert value == pytest.approx(best[image])
            assert strengths[(images == image) & (place == where), atom].max() == pytest.approx(best[image])
    assert state.counts.sum(1).tolist() == [180] * NUM_ATOMS
    assert state.num_positive.tolist() == (strengths > 0).sum(0).tolist()


def test_examples_of_ranges_have_the_strengths_that_they_claim(done):
    state = state_of(made(done, "atom_examples").read(), RANGES)
    scale = made(done, "atoms").read(["mean", "sd"])
    mean, sd = scale["mean"].to_numpy(), scale["sd"].to_numpy()
    borders, num_checked = np.array([-np.inf, 0, 1, 2, 4, 8, np.inf]), 0
    for atom, number, slot in np.argwhere(state.range_image >= 0):
        deviations = (state.range_value[atom, number, slot] - mean[atom]) / sd[atom]
        assert borders[number] - 1e-4 <= deviations < borders[number + 1] + 1e-4
        num_checked += 1
    assert num_checked > NUM_ATOMS * 12


def test_cells_hold_the_means_of_their_activations(done):
    cells = made(done, "atom_cells").read()
    xy = layout_xy(made(done, "project").read(["x", "y"]))
    places, strengths = cell_of(xy, 3), dense(done)[0]
    table = made(done, "atom_strengths").read()
    left, energy = table["left"].to_numpy(), table["energy"].to_numpy()
    assert cells.num_rows == made(done, "bin").num_rows > 3
    for number, (row, col) in enumerate(zip(cells["row"].to_pylist(), cells["col"].to_pylist(), strict=True)):
        inside = (places == (row, col)).all(1)
        assert cells["count"][number].as_py() == inside.sum()
        assert column_matrix(cells, "strength")[number] == pytest.approx(strengths[inside].mean(0), abs=1e-4)
        wanted = (left * energy)[inside].sum() / energy[inside].sum()
        assert cells["left"][number].as_py() == pytest.approx(wanted, abs=1e-5)


def test_attributions_are_divided_among_atoms_and_the_rest(done):
    parts = dense(done)[1]
    sample = made(done, "sample").read(["attribution"])
    attribution = column_matrix(sample, "attribution").astype(float)
    left = made(done, "atom_strengths").read(["left"])["left"].to_numpy()
    of_atoms = column_matrix(made(done, "atom_classes").read(), "attribution")
    divided = (of_atoms * parts.sum(0)[:, None]).sum(0) + left @ attribution
    is_zero = parts.sum(1) + left == 0
    assert divided == pytest.approx(attribution[~is_zero].sum(0), abs=1e-3)


def test_the_pages_hold_what_was_found(done):
    listed, page, cells = (
        page_file(done, "list.js"),
        page_file(done, "atom-2.js"),
        page_file(done, "cells.js"),
    )
    assert [one["unit"] for one in listed["units"]] == list(range(NUM_ATOMS))
    attribution = column_matrix(made(done, "atom_classes").read(), "attribution")
    for one, of_atom in zip(listed["units"], attribution, strict=True):
        best = sorted(range(5), key=lambda number, of_atom=of_atom: -of_atom[number])[:3]
        assert one["classes"] == [number for number in best if of_atom[number] > 0]
    state = state_of(made(done, "atom_examples").read(), RANGES)
    assert [one[2] for one in page["patches"]["top"]] == [str(i) for i in state.top_image[2]]
    assert page["dead"] == ""
    assert page["icons"]["picture"]
    table = made(done, "atom_cells").read()
    best = column_matrix(table, "strength")[:, 2].argmax()
    assert page["cells"]["list"][0][:2] == [table["row"][best].as_py(), table["col"][best].as_py()]
    worst = table["left"].to_numpy().argmax()
    assert cells["worst"][0][:2] == [table["row"][worst].as_py(), table["col"][worst].as_py()]
    files = folder(done) / LATE / "directions"
    rows = list(csv.DictReader(io.StringIO((files / "cells-3.csv").read_text())))
    assert [int(rows[0]["row"]), int(rows[0]["col"])] == cells["worst"][0][:2]
    assert len(list(csv.DictReader(io.StringIO((files / "atoms.csv").read_text())))) == NUM_ATOMS
    picture = Image.open(files / "unexplained-3.png")
    assert "no atom explains" in picture.text["Title"]


def test_a_second_run_does_nothing_and_a_longer_list_fits_no_atom_again(done, atlas):
    assert "0 tasks run" in atlas("directions", done).stdout
    fewer = {**done, "directions": {"num_atoms": NUM_ATOMS, "num_shown": 2}}
    result = atlas("directions", fewer)
    assert result.exit_code == 0, result.stderr
    assert "atom_strengths" not in result.stderr
    assert [one["unit"] for one in page_file(fewer, "list.js")["units"]] == [0, 1]
    assert not (folder(fewer) / LATE / "directions" / "atom-4.js").exists()


@pytest.mark.parametrize("method", ["nmf", "dictionary"])
def test_neither_shards_nor_batches_change_the_atoms(directions, atlas, method):
    found = []
    for name, shard_size, batch_size in (("one", 25, 64), ("two", 60, 7)):
        config = {
            **directions,
            "name": name,
            "sample": {"shard_size": shard_size, "positions_per_image": 3},
            "directions": {"method": method, "num_atoms": 3},
        }
        config["run"] = {**directions["run"], "batch_size": batch_size}
        assert atlas("directions", config).exit_code == 0
        atoms = column_matrix(made(config, "atoms").read(["direction"]), "direction")
        found.append((atoms, dense(config)[0]))
    # Other batches round activations differently, in the last bit of a float16.
    assert found[0][0] == pytest.approx(found[1][0], abs=5e-3)
    assert found[0][1] == pytest.approx(found[1][1], abs=2e-2 * found[0][1].max())


def test_dask_workers_give_the_same_atoms_to_the_bit(done, atlas):
    other = {**done, "name": "other"}
    other["run"] = {**done["run"], "workspace": done["run"]["workspace"] + "-2"}
    result = atlas("directions", other, "--local-cluster", "2")
    assert result.exit_code == 0, result.stderr
    for stage in ("atoms", "atom_strengths", "atom_examples", "atom_cells"):
        assert made(done, stage).read().equals(made(other, stage).read()), stage


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_atoms_are_the_rows_of_a_decoder_and_dead_ones_say_so(directions, atlas, tmp_path, suffix):
    decoder = np.abs(np.random.default_rng(0).normal(size=(20, NUM_CHANNELS))).astype(np.float32)
    decoder[3] = 0
    # Nothing is left for the copy of an atom.
    decoder[7] = decoder[6]
    path = tmp_path / f"decoder{suffix}"
    if suffix == ".npy":
        np.save(path, decoder)
    elif suffix == ".npz":
        np.savez(path, decoder=decoder, encoder=decoder.T, bias=np.zeros(3))
    else:
        save_file({"W_dec": torch.tensor(decoder), "b_dec": torch.zeros(NUM_CHANNELS)}, path)
    config = decoder_config(directions, path, num_active=2)
    result = atlas("directions", config)
    assert result.exit_code == 0, result.stderr
    atoms = column_matrix(made(config, "atoms").read(["direction"]), "direction")
    lengths = np.linalg.norm(decoder, axis=1, keepdims=True)
    assert atoms == pytest.approx(decoder / np.where(lengths > 0, lengths, 1), abs=1e-6)
    strengths = dense(config)[0]
    assert (strengths > 0).sum(1).max() == 2
    num_dead = int((strengths.sum(0) == 0).sum())
    assert f"{num_dead} of 20 atoms are dead" in result.stdout
    assert page_file(config, "atom-3.js")["dead"].endswith("its direction is zero in every channel.")
    assert page_file(config, "atom-3.js")["icons"] is None
    assert "none of 180 sampled activations has any of it" in page_file(config, "atom-7.js")["dead"]
    assert [one["dead"] for one in page_file(config, "list.js")["units"]][7]


def test_private_images_stay_out_of_the_pages(directions, atlas):
    config = {**directions, "stitch": {"examples": 0}}
    assert atlas("directions", config).exit_code == 0
    assert page_file(config, "atom-1.js")["patches"] is None


def test_without_attributions_the_pages_have_no_classes(directions, atlas):
    config = {**directions, "sample": {**directions["sample"], "attribution": "none"}}
    assert atlas("directions", config).exit_code == 0
    assert page_file(config, "atom-1.js")["classes"] is None
    assert page_file(config, "list.js")["units"][1]["classes"] == []


def test_attributions_to_chosen_classes_keep_their_names(directions, atlas):
    config = {**directions, "sample": {**directions["sample"], "attribution": ["cat", "emu"]}}
    assert atlas("directions", config).exit_code == 0
    classes = page_file(config, "atom-1.js")["classes"]
    assert {name for side in classes.values() for name, _ in side} <= {"cat", "emu"}


def test_a_run_makes_atlas_and_atoms(directions, atlas):
    result = atlas("run", directions)
    assert result.exit_code == 0, result.stderr
    assert '"atlas":true' in (folder(directions) / "directions" / "run.js").read_text()
    assert f'"atomPages":["{LATE}"]' in (folder(directions) / "viewer" / "run.js").read_text()
    report = (folder(directions) / "report.html").read_text()
    assert f"{LATE}/directions/unexplained-3.png" in report
    assert f'./directions/index.html#layer={LATE}"><b>{LATE}</b><small>5 atoms' in report


@pytest.mark.parametrize(
    ("decoder", "words"),
    [
        (np.ones((20, 9)), ["has 9 channels", "layer '4' has 12"]),
        (np.ones((NUM_CHANNELS, 20)), ["has 20 channels", "layer '4' has 12", "transpose it"]),
        (np.ones(NUM_CHANNELS), ["must hold one matrix", "(12,)"]),
        (np.full((3, NUM_CHANNELS), np.nan), ["not finite", "row 0"]),
        (np.zeros((3, NUM_CHANNELS)), ["zero everywhere"]),
        (np.array([["a"] * NUM_CHANNELS] * 3), ["must hold one matrix"]),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused_before_anything(
    directions, atlas, refused, tmp_path, decoder, words
):
    np.save(tmp_path / "decoder.npy", decoder)
    config = decoder_config(directions, tmp_path / "decoder.npy")
    refused(atlas("directions", config), "directions.file", *words)
    assert not list(Path(config["run"]["workspace"]).glob("cache/sample"))


def test_a_decoders_file_that_cannot_be_read_is_refused(directions, atlas, refused, tmp_path):
    gone = decoder_config(directions, tmp_path / "gone.npy")
    refused(atlas("directions", gone), "gone.npy", "does not exist")
    (tmp_path / "text.txt").write_text("1 2")
    refused(atlas("directions", decoder_config(directions, tmp_path / "text.txt")), ".safetensors")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    refused(atlas("directions", decoder_config(directions, tmp_path / "bad.npy")), "cannot be read")
    np.savez(tmp_path / "two.npz", a=np.ones((3, NUM_CHANNELS)), b=np.ones((4, NUM_CHANNELS)))
    refused(atlas("directions", decoder_config(directions, tmp_path / "two.npz")), "one matrix", "holds 2")


def test_more_nmf_atoms_than_channels_are_refused_before_anything(directions, atlas, refused):
    config = {**directions, "directions": {"num_atoms": 13}}
    refused(atlas("directions", config), "layer '4' has 12 channels", "NMF finds no 13 atoms")
    assert not list(Path(config["run"]["workspace"]).glob("cache/sample"))


def test_more_atoms_than_activations_are_refused(directions, atlas, refused):
    config = {**directions, "directions": {"method": "dictionary", "num_atoms": 181}}
    refused(atlas("directions", config), "layer '4'", "181 atoms cannot be fitted to 180 activations")


def test_a_layer_that_is_not_sampled_names_the_nearest(directions, atlas, refused):
    config = {**directions, "directions": {"layers": ["44"]}}
    refused(atlas("directions", config), "layer '44' is not sampled", "nearest: '4'")


def test_a_layer_without_a_map_has_no_directions(directions, atlas, refused):
    refused(atlas("directions", {**directions, "layers": ["8"]}), "layer '8'", "no spatial map")


def test_a_file_and_its_method_need_each_other(directions, atlas, refused):
    refused(atlas("status", {**directions, "directions": {"method": "file"}}), "needs file")
    refused(atlas("status", {**directions, "directions": {"file": "a.npy"}}), "reads no file")


def test_a_config_without_directions_is_told_how_to_ask_for_them(small, atlas, refused):
    refused(atlas("directions", small), "add `directions: {}`")
