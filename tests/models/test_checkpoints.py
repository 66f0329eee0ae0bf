"""The weights are found in checkpoints as training code writes them, and the chosen set is reported."""

import argparse
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.models.weights import load_weights, read_state_dict


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 5))


def filled(value: float) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, value) for name, tensor in network().state_dict().items()}


def under(prefix: str, state: dict) -> dict:
    return {f"{prefix}{name}": value for name, value in state.items()}


RAW, EMA = filled(1), filled(2)
OPTIMISER = {
    "state": {i: {"exp_avg": torch.ones(2, 3, 1, 1)} for i in range(4)},
    "param_groups": [{"lr": 0.1}],
}
NAMESPACE = argparse.Namespace(lr=0.1, path="x")


@pytest.fixture
def spec_of(tmp_path):
    """Make the spec of a network whose weights file holds ``content``."""
    (tmp_path / "net.py").write_text("build = None\n")

    def call(content, key=None) -> ModelSpec:
        torch.save(content, tmp_path / "w.ckpt")
        return ModelSpec(
            source="python",
            name=f"{tmp_path}/net.py:build",
            weights=str(tmp_path / "w.ckpt"),
            weights_key=key,
        )

    return call


def loaded(spec: ModelSpec, module: nn.Module | None = None) -> float:
    """Load the weights and return the one value that fills them."""
    module = network() if module is None else module
    load_weights(module, read_state_dict(spec, module.state_dict()), "test")
    (value,) = {float(v) for p in module.parameters() for v in p.detach().flatten()}
    return value


@pytest.mark.parametrize(
    "content",
    [
        RAW,
        OrderedDict(RAW),
        defaultdict(int, RAW),
        under("module.", RAW),
        under("_orig_mod.module.", RAW),
        under("module._orig_mod.", RAW),
        {"state_dict": under("model.", RAW), "epoch": 3, "pytorch-lightning_version": "2.4.0"},
        {"state_dict": under("model._orig_mod.", RAW), "loops": {"fit": [NAMESPACE]}},
        {"state_dict": {**under("net.", RAW), "criterion.weight": torch.ones(5)}},
        {"state_dict": under("encoder.backbone.module.model.", RAW)},
        {"0._orig_mod." + k[2:] if k.startswith("0.") else k: v for k, v in RAW.items()},
        {"model": RAW, "optimizer": OPTIMISER, "epoch": 3, "args": NAMESPACE},
        {**RAW, "optimizer": OPTIMISER},
        {"state_dict": RAW, "best_acc": np.float64(71), "history": np.arange(3)},
        {"net": RAW, "acc": 91.2},
        {"params": RAW},
        {"weights": RAW},
        {"ema": RAW},
        {"model": {"state_dict": RAW}},
        {"model": RAW, "state_dict": RAW},
        [RAW, OPTIMISER],
        {
            "model": {"0": {k[2:]: v for k, v in RAW.items() if k[0] == "0"}}
            | {k: v for k, v in RAW.items() if k[0] != "0"}
        },
        {**RAW, "arch": "resnet", "extra": None, "total_ops": torch.zeros(1)},
        {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in RAW.items()},
        # Averages without names, or of the parameters alone, are not a full set of the network's weights.
        {"model": RAW, "ema": {"decay": 0.99, "shadow_params": list(EMA.values())}},
        {"model": RAW, "ema": {"shadow": {k: v for k, v in EMA.items() if "running" not in k}}},
    ],
)
def test_the_weights_are_found_wherever_they_are(spec_of, content):
    spec = spec_of(content)
    assert loaded(spec) == 1
    # With one set of weights the identity is the file's hash alone, as it was before a key could be given.
    assert list(model_identity(spec)["weights"]) == ["sha256"]


@pytest.mark.parametrize(
    ("content", "averaged", "raw"),
    [
        ({"state_dict": RAW, "state_dict_ema": EMA, "optimizer": OPTIMISER}, "state_dict_ema", "state_dict"),
        (
            {"model": RAW, "model_ema": {"n_averaged": torch.tensor(1), **under("module.", EMA)}},
            "model_ema",
            "model",
        ),
        ({"ema_state_dict": EMA, "net": under("module.", RAW)}, "ema_state_dict", "net"),
        ({"params": RAW, "params_ema": EMA}, "params_ema", "params"),
        (
            {"state_dict": under("model.", RAW) | under("model_ema.module.", EMA)},
            "state_dict.model_ema",
            "state_dict.model",
        ),
        (under("ema.", EMA) | under("online.", RAW), "ema", "online"),
    ],
)
def test_averaged_weights_are_taken_and_named_unless_others_are_asked_for(spec_of, content, averaged, raw):
    spec = spec_of(content)
    assert loaded(spec) == 2
    identity = model_identity(spec)
    assert identity["weights"]["key"] == averaged
    assert model_identity(spec_of(content, averaged)) == identity
    chosen = spec_of(content, raw)
    assert loaded(chosen) == 1
    assert model_identity(chosen)["weights"]["key"] == raw


def test_sets_between_which_nothing_decides_are_refused(spec_of):
    content = {"state_dict": under("encoder_q.", RAW) | under("encoder_k.", EMA)}
    with pytest.raises(
        ModelError, match=r"2 sets .*'state_dict.encoder_q' and 'state_dict.encoder_k'; choose"
    ):
        loaded(spec_of(content))
    assert loaded(spec_of(content, "state_dict.encoder_k")) == 2
    several = {"model": RAW, "ema_0.9": EMA, "ema_0.99": filled(3)}
    with pytest.raises(ModelError, match=r"3 sets .*model.weights_key"):
        loaded(spec_of(several))
    assert loaded(spec_of(several, "ema_0.99")) == 3


def test_a_key_that_names_nothing_lists_the_sets(spec_of):
    with pytest.raises(
        ModelError, match=r"nothing under model.weights_key 'emma'; sets that fit: model, ema$"
    ):
        loaded(spec_of({"model": RAW, "ema": EMA}, "emma"))


def test_a_key_without_a_file_is_refused():
    with pytest.raises(ModelError, match="weights_key 'ema' chooses among the sets"):
        ModelSpec(source="demo", weights_key="ema")


def test_a_wrapped_network_takes_bare_weights(spec_of):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = network()

    assert loaded(spec_of(RAW), Wrapped()) == 1
    assert loaded(spec_of({"state_dict": under("model.backbone.", RAW)}), Wrapped()) == 1


def test_a_larger_network_is_not_taken_for_a_smaller(spec_of):
    with pytest.raises(ModelError, match=r"2 unexpected: 4.weight, 4.bias"):
        loaded(spec_of({"net": {**RAW, "4.weight": torch.ones(5, 5), "4.bias": torch.ones(5)}}))


def test_weights_of_another_network_are_named(spec_of):
    with pytest.raises(ModelError, match=r"8 missing: 0.weight.*1 unexpected: model.stem.weight"):
        loaded(spec_of({"model": {"stem.weight": torch.ones(2)}, "epoch": 1}))


def test_prefixes_in_safetensors(tmp_path):
    save_file(under("model.", RAW), tmp_path / "w.safetensors")
    assert loaded(ModelSpec(source="python", weights=str(tmp_path / "w.safetensors"))) == 1
