"""Finished icons are measured by a second network, by their path and by their ground."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.document.schema_check import document_problems
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.engine.declaration import bind
from atlas_pipeline.engine.stage import Job, Runtime
from atlas_pipeline.inversion import batch_memory
from atlas_pipeline.inversion.placement import placed, shift_px_of
from atlas_pipeline.models.network_cache import _open, opened_cut, opened_network
from atlas_pipeline.numerics.transfer import derangement, own_cell_ranks
from atlas_pipeline.pictures.png_codec import pixels
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.stages.atlas.judge_features import JUDGE_FEATURES
from atlas_pipeline.stages.atlas.yardsticks import YARDSTICKS
from atlas_pipeline.tables.cell_patches import cell_patches
from atlas_pipeline.tables.chosen_images import images_of
from atlas_pipeline.tables.columns import column_matrix

# Another size, other colours and another number of classes than the run's network.
JUDGE = """
import torch
from torch import nn

def build():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 7)
    )

PREPROCESS = dict(resize=24, crop=24, mean=(0.4, 0.5, 0.6), std=(0.5, 0.4, 0.3))
"""
NUMBERS = ("transfer", "transfer_real", "transfer_other", "transfer_noise", "path", "path_other", "ground")


@pytest.fixture
def judged(small, tmp_path):
    (tmp_path / "judge.py").write_text(JUDGE)
    judge = {"source": "python", "name": f"{tmp_path}/judge.py:build"}
    small["invert"] |= {"yardsticks": True, "judge": judge}
    return small


@pytest.fixture
def done(judged, finished):
    """The config of a finished run, and a function from a stage's name to its step and artefact."""
    config = parse_config(finished(judged))
    store, steps = Store(config.run.workspace), steps_of(config)

    def made(stage):
        (step,) = [step for step in steps if step.stage.name == stage]
        return step, artefact_of(step, store)

    return config, made


def job_of(made, stage):
    step, _ = made(stage)
    inputs = {role: made(source.stage.name)[1] for role, source in step.inputs.items()}
    return Job(
        config=step.config,
        settings=step.settings,
        inputs=bind(step.stage.inputs, inputs),
        layer=step.layer,
        view=step.view,
        grid=step.grid,
        fingerprint="",
    )


def run_folder(config):
    return Path(config.run.workspace) / "runs" / config.name


def test_the_numbers_are_in_the_json_the_report_and_the_viewer(done):
    config, made = done
    folder = run_folder(config)
    document = json.loads((folder / "4" / "all" / "atlas-3.json").read_text())
    assert document_problems(document) == []
    assert document["path_layers"] == ["0", "1", "2", "3"]
    tables = {"judge": made("judge")[1].read(), "yardsticks": made("yardsticks")[1].read()}
    for name in NUMBERS:
        source = tables["judge" if name.startswith("transfer") else "yardsticks"]
        expected = [None if v is None or v != v else float(f"{v:.6g}") for v in source[name].to_pylist()]
        assert [cell[name] for cell in document["cells"]] == expected, name
        assert any(value is not None for value in expected), name
    assert all(len(cell["path_by_layer"]) == 4 for cell in document["cells"])
    notes = made("yardsticks")[1].notes
    assert document["baselines"]["ground_noise"] == pytest.approx(notes["noise"]["ground_noise"], rel=1e-5)
    assert document["baselines"]["ground_real"] == pytest.approx(notes["real_crops"]["ground_real"], rel=1e-5)
    page = (folder / "report.html").read_text()
    for words in ("own cell is the judge&#x27;s nearest", "path, median", "contrast where it is needed"):
        assert f"<dt>{words}</dt>" in page, words
    listed = (folder / "viewer" / "run.js").read_text()
    assert all(f'"name":"{name}"' in listed for name in ("transfer", "path", "path_other", "ground"))
    grid = (folder / "4" / "all" / "tiles-3" / "grid.js").read_text()
    assert all(f'"{column}"' in grid for column in ("transfer", "path", "pathOther", "ground"))


def test_ranks_come_from_the_judges_features(done):
    _, made = done
    features, ranks = made("judge_features")[1].read(), made("judge")[1].read()
    icon, real, held_out, rest, noise = (
        column_matrix(features, name).astype(np.float32)
        for name in ("icon", "real", "held_out", "rest", "noise")
    )
    assert ranks["transfer"].to_pylist() == own_cell_ranks(icon, real).tolist()
    assert ranks["transfer_noise"].to_pylist() == own_cell_ranks(noise, real).tolist()
    other = derangement(len(icon), np.random.default_rng(0))
    assert ranks["transfer_other"].to_pylist() == own_cell_ranks(icon[other], real).tolist()
    num_patches = features["num_patches"].to_numpy()
    expected = own_cell_ranks(held_out, real, own_features=rest)
    for rank, value, num in zip(ranks["transfer_real"].to_pylist(), expected, num_patches, strict=True):
        assert rank == (value if num > 1 else None)
    # The mean of all patches is that of the held-out one and the rest.
    weights = (num_patches - 1)[:, None]
    assert real * num_patches[:, None] == pytest.approx(held_out + weights * rest, abs=2e-2)


def test_the_judge_sees_icons_through_its_own_preprocessing(done):
    _, made = done
    step, features = made("judge_features")
    icons = pixels(made("invert")[1].read(["icon"])["icon"])
    judge = opened_network(step.settings.judge, "cpu")
    images = torch.tensor(icons).permute(0, 3, 1, 2).float() / 255
    fitted = torch.nn.functional.interpolate(images, size=24, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.4, 0.5, 0.6), (0.5, 0.4, 0.3)))
    expected = judge.module[:4]((fitted.clamp(0, 1) - mean) / std).numpy()
    assert column_matrix(features.read(["icon"]), "icon") == pytest.approx(expected, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("stage", [YARDSTICKS, JUDGE_FEATURES], ids=lambda stage: stage.name)
def test_batches_and_tasks_change_no_number(done, stage, monkeypatch):
    _, made = done
    job, whole = job_of(made, stage.name), made(stage.name)[1].read()
    parts = []
    for start, stop, batch_size in ((0, 3, 1), (3, len(whole), 5)):
        monkeypatch.setattr(batch_memory, "CPU_BATCH", batch_size)
        (output,) = stage.compute({"start": start, "stop": stop}, [job], Runtime())
        parts.append(output.table)
    for name in whole.column_names:
        both = [value for part in parts for value in part[name].to_pylist()]
        for one, other in zip(both, whole[name].to_pylist(), strict=True):
            assert one == pytest.approx(other, rel=2e-3, abs=2e-3, nan_ok=True), name


def test_a_patch_shows_its_position_where_an_icon_has_its_centre(done):
    _, made = done
    step, _ = made("judge_features")
    index = made("index")[1]
    # The layer has 16 x 16 positions over 32 px, and 8 x 8 over an icon of 16 px: 2 px each. The centre
    # position of 8 x 8 looks 1 px below and to the right of the middle.
    own = opened_cut(step.settings.model, "4", "cpu")
    assert shift_px_of(placed(own, 16, "cpu")) == 1
    examples = [[{"image_id": 3, "row": 6, "col": 9}, {"image_id": 5, "row": 1, "col": 14}]]
    (patches,) = cell_patches(index, examples, step.settings, "4", 16, "cpu")
    images = images_of(index, [3, 5], step.settings, "cpu").numpy()
    inside = images[0][:, 5:21, 11:27].transpose(1, 2, 0)
    assert (patches[0] == inside).all()
    # Rows -5 to 10 and columns 21 to 36: continued by reflection.
    rows = [4, 3, 2, 1, 0, *range(11)]
    cols = [*range(21, 32), 31, 30, 29, 28, 27]
    assert (patches[1] == images[1][:, rows][:, :, cols].transpose(1, 2, 0)).all()


def test_neither_is_made_unless_asked_for(small, states):
    stages = {name.split()[0] for name in states(small)}
    assert not stages & {"yardsticks", "judge", "judge_features"}


def test_a_judge_changes_no_icon(small, judged, states, finished, atlas):
    plain = {**judged, "invert": {"size_px": 16, "steps": 2}}
    finished(plain)
    left = {name.split()[0] for name, state in states(judged).items() if state != "done"}
    assert left == {"yardsticks", "judge_features", "judge", "stitch", "tiles"}


def test_two_networks_stay_open(done):
    _, made = done
    settings = made("judge_features")[0].settings
    own, judge = opened_network(settings.model, "cpu"), opened_network(settings.judge, "cpu")
    before = _open.cache_info().misses
    assert opened_network(settings.model, "cpu") is own
    assert opened_network(settings.judge, "cpu") is judge
    assert _open.cache_info().misses == before


@pytest.mark.parametrize("changes", [{}, {"preprocess": {"mean": [0.4, 0.4, 0.4]}}, {"labels": "names.txt"}])
def test_a_judge_that_is_the_same_network_is_refused(small, atlas, refused, changes):
    small["invert"]["judge"] = small["model"] | changes
    refused(atlas("run", small), "invert.judge is the network that makes the icons", "prove nothing")


def test_the_same_weights_by_other_code_are_the_same_network(small, tmp_path, atlas, refused):
    from safetensors.torch import save_file

    namespace: dict = {}
    exec((tmp_path / "network.py").read_text(), namespace)
    save_file(namespace["build"]().state_dict(), tmp_path / "weights.safetensors")
    weights = {"weights": str(tmp_path / "weights.safetensors")}
    (tmp_path / "copy.py").write_text((tmp_path / "network.py").read_text() + "\n# another file\n")
    small["model"] |= weights
    small["invert"]["judge"] = small["model"] | {"name": f"{tmp_path}/copy.py:build"}
    refused(atlas("run", small), "invert.judge is the network that makes the icons")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": "nowhere.pth"}, "there is no file 'nowhere.pth'"),
        ({"weights": "package:no_such_package/weights.pth"}, "no_such_package"),
        ({"weights": "package:torch/no_such_file.pth"}, "no_such_file.pth"),
        ({"name": "nowhere.py:build"}, "nowhere.py"),
    ],
)
def test_a_judge_that_is_not_there_is_told(judged, atlas, refused, changes, words):
    judged["invert"]["judge"] |= changes
    refused(atlas("run", judged), "invert.judge: ", words)


def test_a_judge_without_features_is_refused_before_the_work(judged, tmp_path, atlas, refused, states):
    (tmp_path / "judge.py").write_text(
        "from torch import nn\n\n"
        "class Sums(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.mean((2, 3))\n\n"
        "build = Sums\n"
        "PREPROCESS = dict(resize=24, crop=24)\n"
    )
    refused(atlas("run", judged), "invert.judge: ", "no linear layer with 3 outputs")
    assert {name.split()[0] for name, state in states(judged).items() if state == "done"} <= {"index"}


def test_a_view_without_icons_has_no_numbers(judged, atlas, store_of):
    judged["classes"] = [{"class": "bee", "grid": {"sizes": [2], "min_count": 1000}}]
    result = atlas("run", judged)
    assert result.exit_code == 0, result.stderr
    made = store_of(judged)
    for stage in ("yardsticks", "judge_features", "judge"):
        assert made(stage, "class-bee").num_rows == 0


def test_a_judge_that_was_never_trained_is_remarked_on(judged, atlas):
    judged["invert"]["judge"] = {"source": "demo", "weights": "random"}
    result = atlas("run", judged)
    assert result.exit_code == 0, result.stderr
    assert "the judge was never trained" in result.stdout + result.stderr


def test_a_judge_whose_features_are_no_numbers_is_told(judged, tmp_path, atlas):
    # Its input overflows: icons and patches differ from the grey images that a network is tried on.
    (tmp_path / "judge.py").write_text(
        JUDGE.replace("nn.ReLU()", "Steep()").replace(
            "def build",
            "class Steep(nn.Module):\n    def forward(self, x):\n        return (9e9 * x).exp()\n\ndef build",
        )
    )
    result = atlas("run", judged)
    assert result.exit_code != 0
    assert "invert.judge: the features of judge are not finite" in result.stderr
