"""Weights files: wrapped, prefixed, wrong, malicious."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.weights import load_weights, read_state_dict


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


class Payload:
    """Its pickle writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {f"_orig_mod.{k}": v for k, v in state.items()},
    ],
)
def test_a_state_dict_is_found_in_its_wrappings(tmp_path, wrap):
    source, target = linear(), linear()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pth")
    load_weights(target, read_state_dict(tmp_path / "w.pth"), "test")
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_safetensors(tmp_path):
    source, target = linear(), linear()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    load_weights(target, read_state_dict(tmp_path / "w.safetensors"), "test")
    assert torch.equal(source[0].weight, target[0].weight)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, protocol):
    trap = tmp_path / "trap"
    torch.save({"weight": Payload(str(trap))}, tmp_path / "w.pt", pickle_protocol=protocol)
    with pytest.raises(ModelError, match=r"run code: refused; .*state_dict") as caught:
        read_state_dict(tmp_path / "w.pt")
    assert not trap.exists()
    assert "\n" not in str(caught.value)


def test_a_bare_pickle_is_refused_and_not_run(tmp_path):
    trap = tmp_path / "trap"
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Payload(str(trap)), protocol=2))
    with pytest.raises(ModelError):
        read_state_dict(tmp_path / "w.pt")
    assert not trap.exists()


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(linear(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="run code: refused"):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello, I am text", b"PK\x03\x04 cut short"])
def test_files_that_are_no_weights(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_state_dict(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"lr": 0.1}])
def test_contents_that_are_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="state dict"):
        read_state_dict(tmp_path / "w.pt")


def test_keys_that_do_not_fit_are_named():
    state = linear().state_dict()
    del state["0.bias"]
    state["0.weight"] = torch.zeros(4, 2)
    state |= {f"extra.{i}": torch.zeros(1) for i in range(5)}
    with pytest.raises(ModelError) as caught:
        load_weights(linear(), state, "weights 'w.pt' for x")
    message = str(caught.value)
    assert "1 missing: 0.bias;" in message
    assert "5 unexpected: extra.0, extra.1, extra.2, ...;" in message
    assert "1 of another shape: 0.weight 4x2 for 3x2" in message


def test_a_missing_count_of_training_steps_does_not_matter():
    state = linear().state_dict()
    del state["1.num_batches_tracked"]
    load_weights(linear(), state, "test")
