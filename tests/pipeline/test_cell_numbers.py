"""Numbers of an atlas's cells and icons, from the artefacts of small whole runs to the JSON."""

import copy
import json

import numpy as np
import pytest
import torch

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.document.schema_check import document_problems
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.images.batches import image_batches
from atlas_pipeline.inversion import centre_activation
from atlas_pipeline.inversion.icon_numbers import NUM_NOISE
from atlas_pipeline.inversion.placement import moved
from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution import attribution, path_points
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.stages.atlas import invert
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.population import layout_xy

LAYER = "4"


def made(config, stage):
    parsed = parse_config(config)
    (step,) = [step for step in steps_of(parsed) if step.stage.name == stage]
    return artefact_of(step, Store(parsed.run.workspace))


def document(config):
    folder = parse_config(config).run.workspace
    with open(f"{folder}/runs/small/{LAYER}/all/atlas-3.json") as file:
        return json.load(file)


@pytest.fixture
def done(small, finished):
    return finished(small)


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b))) if a.any() else 0.0


def test_nearest_and_consistency_are_those_of_a_naive_loop(done):
    cells, sample = made(done, "bin").read(), made(done, "sample").read()
    activation = column_matrix(sample, "activation").astype(np.float64)
    attributions = column_matrix(sample, "attribution").astype(np.float64)
    places = cell_of(layout_xy(made(done, "project").read()), 3)
    for cell in cells.to_pylist():
        members = np.flatnonzero((places == [cell["row"], cell["col"]]).all(axis=1))
        mean = activation[members].mean(axis=0)
        tops = [int(attributions[m].argmax()) for m in members if attributions[m].any()]
        assert cell["nearest"] == pytest.approx(max(cosine(activation[m], mean) for m in members), abs=1e-5)
        assert cell["consistency"] == pytest.approx(max(map(tops.count, tops)) / len(members))
    assert len(cells) > 1
    assert len(set(cells["consistency"].to_pylist())) > 1


def test_noise_is_the_same_however_the_cells_are_cut_into_tasks(done, atlas, monkeypatch, tmp_path):
    network = opened_network(model_spec(parse_config(done)), "cpu")
    images = torch.rand(NUM_NOISE, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    shift_px = made(done, "invert").notes["shift_px"]
    assert shift_px == 1
    images = moved(images, shift_px)
    with torch.no_grad():
        given = centre_activation(feature_maps(network, images, [LAYER])[LAYER]).double().numpy()
    means = column_matrix(made(done, "bin").read(), "activation").astype(np.float64)
    expected = [np.median([cosine(h, mean) for h in given]) for mean in means]
    whole = made(done, "invert")
    assert whole.num_parts == 1
    np.testing.assert_allclose(whole.read()["noise"].to_numpy(), expected, atol=1e-5)
    monkeypatch.setattr(invert, "CELLS_PER_TASK", 2)
    other = copy.deepcopy(done)
    other["run"]["workspace"] = str(tmp_path / "other")
    assert atlas("run", other).exit_code == 0
    cut = made(other, "invert")
    assert cut.num_parts > 1
    assert cut.read()["noise"].equals(whole.read()["noise"])
    assert cut.notes == whole.notes


def test_the_json_and_the_page_hold_the_numbers_and_their_baselines(done, tmp_path):
    atlas_json, cells, icons = document(done), made(done, "bin").read(), made(done, "invert")
    assert document_problems(atlas_json) == []
    for name, values in (("nearest", cells), ("consistency", cells), ("noise", icons.read())):
        shown = [cell[name] for cell in atlas_json["cells"]]
        np.testing.assert_allclose(shown, values[name].to_numpy(), rtol=1e-5)
    baselines = atlas_json["baselines"]
    assert baselines["round_trip"] == pytest.approx(1 / len(cells), rel=1e-5)
    assert baselines["fidelity_noise"] == pytest.approx(np.median(icons.read()["noise"].to_numpy()), rel=1e-5)
    assert baselines["fidelity_nearest"] == pytest.approx(np.median(cells["nearest"].to_numpy()), rel=1e-5)
    real = icons.notes["real_crops"]
    assert {name: baselines[name] for name in real} == pytest.approx(real, rel=1e-5)
    # The unit is the spread among real crops, so the value is about 1 by construction.
    assert 0.3 < real["spectrum_distance"] < 1.5
    page = (tmp_path / "workspace" / "runs" / "small" / "report.html").read_text()
    assert "consistency, median" in page
    assert f"noise {baselines['fidelity_noise']:.3f}" in page


def test_without_attribution_nothing_is_said_of_consistency(small, atlas):
    small["sample"]["attribution"] = "none"
    assert atlas("run", small).exit_code == 0
    assert "consistency" not in made(small, "bin").schema.names
    assert document_problems(document(small)) == []
    assert all("consistency" not in cell for cell in document(small)["cells"])


def sampled(values):
    """The network of a run, its images, their sampled positions (row, col), and the stored attributions."""
    config, index = parse_config(values), made(values, "index").read()
    network = opened_network(model_spec(config), "cpu")
    (batch,) = image_batches(index, "generated", None, network.preprocess, config.seed, len(index), 0)
    sample = made(values, "sample").read()
    at = np.stack([sample["row"].to_numpy(), sample["col"].to_numpy()], axis=1)
    return network, batch.images, torch.tensor(at), column_matrix(sample, "attribution").astype(np.float32)


def test_integrated_attribution_is_sampled_and_its_steps_matter_to_it_alone(done, atlas, states):
    changed = copy.deepcopy(done)
    changed["sample"]["integrated_steps"] = 3
    assert set(states(changed).values()) == {"done"}
    changed["sample"] |= {"attribution_method": "integrated", "maxpool_gradient": "exact"}
    assert states(changed)[f"sample {LAYER}"] != "done"
    assert atlas("sample", changed).exit_code == 0
    more_steps = {**changed, "sample": {**changed["sample"], "integrated_steps": 4}}
    assert states(more_steps)[f"sample {LAYER}"] != "done"
    network, images, at, found = sampled(changed)
    expected = attribution(network, images, LAYER, at, path=path_points("integrated", 3)).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)
    gradient = column_matrix(made(done, "sample").read(), "attribution").astype(np.float32)
    assert np.abs(found - gradient).max() > 1e-3


def test_ablation_is_sampled_and_neither_steps_nor_pools_matter_to_it(done, atlas, states):
    changed = copy.deepcopy(done)
    changed["sample"]["attribution_method"] = "ablation"
    assert states(changed)[f"sample {LAYER}"] != "done"
    assert atlas("sample", changed).exit_code == 0
    same = {**changed, "sample": {**changed["sample"], "integrated_steps": 4, "maxpool_gradient": "exact"}}
    assert states(same)[f"sample {LAYER}"] == "done"
    network, images, at, found = sampled(changed)
    np.testing.assert_allclose(found, ablation(network, images, LAYER, at).numpy(), rtol=2e-3, atol=1e-4)
