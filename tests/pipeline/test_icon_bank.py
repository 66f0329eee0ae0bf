"""Icons start from the finished icons of any run with the same network: `atlas bank`, `invert.bank`."""

import copy
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.numerics.fidelity import nearest_with_cosine
from atlas_pipeline.pictures.icon_starts import made_with_starts, nearest_starts
from atlas_pipeline.pictures.png_codec import pixels, pngs_of
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.columns import column_matrix, matrix_column
from atlas_pipeline.tables.icon_bank import FinishedIcons, open_bank, read_bank, write_bank

LAYER = "4"


def artefacts(config, stage):
    parsed = parse_config(config)
    store = Store(parsed.run.workspace)
    return {step.grid: artefact_of(step, store) for step in steps_of(parsed) if step.stage.name == stage}


def banks(config):
    return Path(config["run"]["workspace"]) / "banks"


@pytest.fixture
def banked(small, finished, atlas):
    """A finished run, and the digest of the bank of its icons."""
    config = finished(small)
    result = atlas("bank", config)
    assert result.exit_code == 0, result.stderr
    return config, result.stdout.strip()


def another(config, digest, **invert):
    """Another run of the workspace, over other images, whose icons start from the bank."""
    config = copy.deepcopy(config)
    config["name"] = "another"
    config["images"]["num_images"] = 48
    config["invert"] |= {"bank": digest, "bank_cosine": -1.0, "warm_steps": 1, **invert}
    return config


def icon_table(directions, seed=0):
    icons = np.random.default_rng(seed).integers(0, 256, (len(directions), 8, 8, 3)).astype(np.uint8)
    return pa.table(
        {
            "direction": matrix_column(np.asarray(directions, np.float32)),
            "icon": pa.array(pngs_of(icons), pa.binary()),
            "fidelity": np.linspace(0, 1, len(directions), dtype=np.float32),
        }
    )


def test_a_bank_holds_the_icons_and_the_means_of_their_cells(banked):
    config, digest = banked
    bank = read_bank(banks(config) / digest, digest, LAYER)
    cells, icons = artefacts(config, "bin")[3].read(), artefacts(config, "invert")[3].read()
    assert np.array_equal(bank.directions, column_matrix(cells, "activation").astype(np.float32))
    assert bank.files.to_pylist() == icons["icon"].to_pylist()


def test_an_icon_starts_from_the_nearest_banked_icon(banked, atlas):
    """At a learning rate near zero, an icon stays at its starting point."""
    config, digest = banked
    other = another(config, digest, learning_rate=1e-7)
    result = atlas("run", other)
    assert result.exit_code == 0, result.stderr
    icons, means = artefacts(other, "invert")[3].read(), artefacts(other, "bin")[3].read()
    bank = read_bank(banks(config) / digest, digest, LAYER)
    rows, _ = nearest_with_cosine(column_matrix(means, "activation"), bank.directions)
    wanted = pixels(bank.files)[rows].astype(int)
    assert np.abs(pixels(icons["icon"]) - wanted).mean() < 2
    assert set(icons["steps"].to_pylist()) == {1}
    num = len(icons)
    assert f"{num} of {num} icons started from an icon of bank {digest}" in result.stdout


def test_only_cells_near_enough_start_from_the_bank(banked, atlas):
    config, digest = banked
    directions = read_bank(banks(config) / digest, digest, LAYER).directions
    everything = another(config, digest)
    assert atlas("run", everything).exit_code == 0
    means = column_matrix(artefacts(everything, "bin")[3].read(), "activation")
    _, cosines = nearest_with_cosine(means, directions)
    least = float(np.sort(cosines)[len(cosines) // 2])
    some = another(config, digest, bank_cosine=least)
    result = atlas("run", some)
    assert result.exit_code == 0, result.stderr
    steps = artefacts(some, "invert")[3].read()["steps"].to_numpy()
    assert np.array_equal(steps == 1, cosines >= least)
    assert np.array_equal(steps == 2, cosines < least)
    assert 0 < (cosines < least).sum() < len(cosines)
    assert artefacts(some, "invert")[3].notes["num_banked"] == (cosines >= least).sum()


def test_what_a_run_starts_from_is_in_its_fingerprint(banked, atlas, states):
    config, digest = banked
    other = another(config, digest)
    assert atlas("run", other).exit_code == 0
    plain = copy.deepcopy(other)
    plain["invert"] = dict(config["invert"])
    prints = {
        artefacts(one, "invert")[3].fingerprint if artefacts(one, "invert")[3] else None
        for one in (other, plain)
    }
    assert len(prints) == 2
    assert states(another(config, digest, bank_cosine=0.5))["invert 4 all 3"] == "missing"
    # A bank that is named by its folder is the same bank.
    assert states(another(config, str(banks(config) / digest)))["invert 4 all 3"] == "done"
    # A finished run needs its bank no more.
    shutil.rmtree(banks(config))
    assert states(other)["invert 4 all 3"] == "done"
    again = atlas("run", other)
    assert again.exit_code == 0, again.stderr
    assert "0 tasks run" in again.stdout


def test_a_rerun_from_the_bank_gives_the_same_bytes(banked, atlas):
    config, digest = banked
    other = another(config, digest)
    assert atlas("run", other).exit_code == 0
    first = artefacts(other, "invert")[3].read()
    assert atlas("invert", other, "--force", "--no-deps").exit_code == 0
    assert artefacts(other, "invert")[3].read().equals(first)


def test_without_a_bank_nothing_is_said_or_noted(banked):
    config, _ = banked
    assert "num_banked" not in artefacts(config, "invert")[3].notes


def test_a_bank_collects_other_runs_and_says_what_it_leaves_out(banked, atlas):
    config, digest = banked
    other = copy.deepcopy(config) | {"name": "third"}
    other["images"]["num_images"] = 52
    other["invert"]["size_px"] = 24
    assert atlas("run", other).exit_code == 0
    num = artefacts(other, "invert")[3].num_rows
    again = atlas("bank", config)
    assert again.stdout.strip() == digest
    assert f"left out: {num} icon" in again.stderr
    other["invert"]["size_px"] = 16
    assert atlas("run", other).exit_code == 0
    both = open_bank(banks(config) / atlas("bank", config).stdout.strip())
    assert both.digest != digest
    assert both.of_layer(LAYER).num_icons == num + artefacts(config, "invert")[3].num_rows


def test_of_two_icons_of_a_direction_the_more_faithful_is_banked(banked, atlas):
    config, _ = banked
    longer = copy.deepcopy(config)
    longer["invert"]["steps"] = 40
    assert atlas("run", longer).exit_code == 0
    bank = banks(config) / atlas("bank", config).stdout.strip()
    table = pq.read_table(bank / "00000.parquet")
    first, second = (artefacts(one, "invert")[3].read() for one in (config, longer))
    best = np.maximum(first["fidelity"].to_numpy(), second["fidelity"].to_numpy())
    assert np.sort(table["fidelity"].to_numpy()) == pytest.approx(np.sort(best))
    assert (first["fidelity"].to_numpy() < best).any()


def test_icons_with_damaged_files_are_counted_not_banked(banked, atlas, refused):
    config, _ = banked
    (part,) = (Path(config["run"]["workspace"]) / "cache" / "invert").glob("*/part-*.parquet")
    part.write_bytes(part.read_bytes()[:-50])
    refused(atlas("bank", config), "has no finished icons of 16 px", "make some with: atlas run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "atlas-bank/2"}, ("has the format 'atlas-bank/2'", "this version reads 'atlas-bank/1'")),
        ({"size_px": 17}, ("is damaged", "it has the digest")),
    ],
)
def test_a_bank_of_another_version_or_content_is_refused(banked, atlas, refused, change, words):
    config, digest = banked
    path = banks(config) / digest / "bank.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(atlas("run", another(config, digest)), *words, "atlas bank CONFIG")


def test_a_bank_that_is_not_there_or_unfinished_is_refused(banked, atlas, refused):
    config, digest = banked
    refused(atlas("run", another(config, "0" * 16)), "there is no finished bank of icons at", "0" * 16)
    refused(atlas("run", another(config, "nowhere")), "there is no finished bank of icons at", "nowhere")
    (banks(config) / digest / "bank.json").unlink()
    refused(atlas("run", another(config, digest)), "there is no finished bank of icons at", digest)


def test_a_bank_json_that_is_cut_short_is_refused(banked, atlas, refused):
    config, digest = banked
    path = banks(config) / digest / "bank.json"
    path.write_text(path.read_text()[:40])
    refused(atlas("run", another(config, digest)), "is damaged (bank.json")


def test_a_bank_of_another_network_is_refused(banked, atlas, refused, tmp_path):
    config, digest = banked
    (tmp_path / "network.py").write_text((tmp_path / "network.py").read_text() + "\n# edited\n")
    refused(atlas("run", another(config, digest)), f"invert.bank {digest} is of another network")


def test_a_bank_of_other_layers_or_icons_is_refused(banked, atlas, refused):
    config, digest = banked
    other = another(config, digest)
    other["layers"] = ["1"]
    refused(atlas("run", other), f"has no icons of 1, only of {LAYER}")
    refused(atlas("run", another(config, digest, size_px=24)), "has icons of 16 px with 3 planes", "24 px")
    refused(atlas("run", another(config, digest, alpha=1.0)), "with 3 planes", "16 px with 4")


def test_a_layer_that_the_bank_lacks_starts_without_it(banked, atlas):
    config, digest = banked
    other = another(config, digest)
    other["layers"] = ["1", LAYER]
    result = atlas("run", other)
    assert result.exit_code == 0, result.stderr
    assert f"invert.bank {digest} has no icons of 1, which starts without it" in result.stdout + result.stderr
    icons = {step.config["layer"]: step for step in all_icons(other)}
    assert set(icons["1"].read()["steps"].to_pylist()) == {2}
    assert set(icons[LAYER].read()["steps"].to_pylist()) == {1}


def all_icons(config):
    parsed = parse_config(config)
    store = Store(parsed.run.workspace)
    return [artefact_of(step, store) for step in steps_of(parsed) if step.stage.name == "invert"]


def test_a_bank_needs_warm_steps(banked, atlas, refused):
    config, digest = banked
    refused(
        atlas("run", another(config, digest, warm_steps=None)), "invert.warm_steps is null", "invert.bank"
    )
    refused(atlas("run", another(config, digest, bank_cosine=1.5)), "invert.bank_cosine is 1.5")


def test_no_icons_no_bank(small, atlas, refused):
    refused(atlas("bank", small), "has no finished icons of 16 px", "atlas run CONFIG")


def test_a_damaged_file_of_a_bank_is_told(tmp_path):
    bank = write_bank(tmp_path, {"source": "demo"}, 8, 3, {"a": icon_table(np.eye(4))})
    path = bank.folder / "00000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigError, match=r"damaged \(00000.parquet: its digest does not match\)"):
        read_bank(bank.folder, bank.digest, "a")
    path.unlink()
    with pytest.raises(ConfigError, match="damaged"):
        read_bank(bank.folder, bank.digest, "a")
    # Writing it again mends it.
    write_bank(tmp_path, {"source": "demo"}, 8, 3, {"a": icon_table(np.eye(4))})
    assert np.array_equal(read_bank(bank.folder, bank.digest, "a").directions, np.eye(4))


def test_two_runs_can_write_one_bank_at_the_same_time(tmp_path):
    table = icon_table(np.eye(64))
    start, found = threading.Barrier(4), []

    def write():
        start.wait()
        for _ in range(10):
            bank = write_bank(tmp_path, {"source": "demo"}, 8, 3, {"a": table, "b": table})
            found.append((bank.digest, len(read_bank(bank.folder, bank.digest, "b").files)))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert len(set(found)) == 1
    (folder,) = (tmp_path / "banks").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["00000.parquet", "00001.parquet", "bank.json"]


def test_the_digest_tells_network_size_and_icons_apart(tmp_path):
    def digest(model, size_px, icons):
        return write_bank(tmp_path, model, size_px, 3, icons).digest

    plain = digest({"a": 1}, 8, {"a": icon_table(np.eye(4))})
    assert plain == digest({"a": 1}, 8, {"a": icon_table(np.eye(4))})
    others = [
        digest({"a": 2}, 8, {"a": icon_table(np.eye(4))}),
        digest({"a": 1}, 9, {"a": icon_table(np.eye(4))}),
        digest({"a": 1}, 8, {"b": icon_table(np.eye(4))}),
        digest({"a": 1}, 8, {"a": icon_table(np.eye(4), seed=1)}),
    ]
    assert len({plain, *others}) == 5


def finished_icons(directions, level):
    icons = np.full((len(directions), 2, 2, 3), level, np.uint8)
    icons[:, 0, 0, 0] = np.arange(len(directions))
    return FinishedIcons(np.asarray(directions, float), pa.chunked_array([pngs_of(icons)]))


def test_the_nearer_of_coarser_grid_and_bank_is_taken():
    directions = np.array([[1.0, 0.1], [0.1, 1.0], [1.0, 1.0]])
    coarser, bank = finished_icons([[1, 0], [1, 1]], 50), finished_icons([[0, 1], [1, 1]], 90)
    starts = nearest_starts(directions, coarser, bank, least_cosine=1.0)
    assert starts.which.tolist() == [0, 1, 2]
    assert starts.is_banked.tolist() == [False, True, False]  # a tie goes to the coarser grid
    assert starts.images[:, 1, 1, 0].tolist() == [50, 90, 50]
    assert starts.images[:, 0, 0, 0].tolist() == [0, 0, 1]


def test_without_a_coarser_grid_the_bank_serves_what_is_near():
    directions = np.array([[1.0, 0.1], [1.0, 1.0]])
    starts = nearest_starts(directions, None, finished_icons([[0, 1], [1, 0]], 9), least_cosine=0.9)
    assert (starts.which.tolist(), starts.is_banked.tolist()) == ([0], [True, False])
    assert starts.images[:, 0, 0, 0].tolist() == [1]
    none = nearest_starts(directions, None, None, least_cosine=0.9)
    assert (none.which.tolist(), none.is_banked.tolist()) == ([], [False, False])


def test_icons_made_apart_come_back_in_order():
    from atlas_pipeline.inversion import Icons
    from atlas_pipeline.pictures.icon_starts import Starts

    def made(which, start):
        import torch

        values = torch.tensor(which, dtype=torch.float32)
        taken = torch.full((len(which),), 0 if start is None else 1, dtype=torch.int32)
        return Icons(values[:, None], values[:, None], values, values, taken)

    starts = Starts(np.array([1, 3]), np.zeros((2, 1, 1, 3), np.uint8), np.array([False, True] * 2 + [False]))
    icons = made_with_starts(made, starts)
    assert icons.fidelity.tolist() == [0, 1, 2, 3, 4]
    assert icons.steps.tolist() == [0, 1, 0, 1, 0]
