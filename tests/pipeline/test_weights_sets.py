"""A checkpoint with raw and averaged weights: a run states its choice, and its artefacts depend on it."""

import runpy

import torch

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.run_settings import model_config, weights_set_note
from atlas_pipeline.models.network_name import weights_note


def test_a_run_says_which_of_several_weights_it_takes(small, atlas, states, tmp_path):
    state = runpy.run_path(str(tmp_path / "network.py"))["build"]().state_dict()
    averaged = {name: value * 2 for name, value in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged}, tmp_path / "w.pth.tar")
    config = {**small, "model": {**small["model"], "weights": str(tmp_path / "w.pth.tar")}}
    result = atlas("sample", config)
    assert result.exit_code == 0, result.stderr
    assert "those of 'state_dict_ema' are taken" in result.stderr
    assert states(config)["sample 4"] == "done"
    assert weights_note(model_config(parse_config(config))).endswith(", its 'state_dict_ema'")
    # Choosing the default set by its name gives the same network; the raw weights give another.
    chosen = {**config, "model": {**config["model"], "weights_key": "state_dict_ema"}}
    assert states(chosen)["sample 4"] == "done"
    assert weights_set_note(parse_config(chosen)) is None
    raw = {**config, "model": {**config["model"], "weights_key": "state_dict"}}
    assert states(raw)["sample 4"] == "missing"
    assert ", its 'state_dict'\n" in atlas("layers", raw).stdout
