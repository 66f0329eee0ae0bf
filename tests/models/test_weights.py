"""Weights files that are unsafe, damaged, or of another format, and keys and numbers that do not match."""

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.models.weights import load_weights, read_state_dict


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def read(path, expected=None, key=None):
    spec = ModelSpec(source="python", weights=str(path), weights_key=key)
    return read_state_dict(spec, linear().state_dict() if expected is None else expected)


class Payload:
    """An object that calls a function with a path when it is unpickled."""

    def __init__(self, call, path):
        self.call, self.path = call, path

    def __reduce__(self):
        return self.call, (str(self.path),)


@pytest.mark.parametrize("call", [os.mkdir, Path.touch, exec, open])
@pytest.mark.parametrize("old_format", [False, True])
def test_no_code_is_run_and_weights_beside_it_are_read(tmp_path, call, old_format):
    trap, state = tmp_path / "trap", linear().state_dict()
    payload = Payload(call, f"open({str(trap)!r}, 'w')" if call is exec else trap)
    torch.save(
        {"state_dict": state, "extra": payload},
        tmp_path / "w.pt",
        _use_new_zipfile_serialization=not old_format,
    )
    found = read(tmp_path / "w.pt")
    assert not trap.exists()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("protocol", [2, 4])
def test_only_code_in_a_pickle_is_refused_and_not_run(tmp_path, protocol):
    trap = tmp_path / "trap"
    torch.save({"weight": Payload(os.mkdir, trap)}, tmp_path / "w.pt", pickle_protocol=protocol)
    with pytest.raises(ModelError, match=r"posix.mkdir.* run code: refused; .*state_dict") as caught:
        read(tmp_path / "w.pt")
    assert not trap.exists()
    assert "\n" not in str(caught.value)


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu") + b"K\x06tQ"
TENSOR = REBUILD + b"(" + STORAGE + b"K\x00K\x03K\x02\x86K\x02K\x01\x86\x89}tR"
DICTIONARY = b"}" + _text("file") + _text("/x") + b"s"
SLOTS = b"N}" + _text("append") + b"K\x01s\x86"


@pytest.mark.parametrize(
    ("target", "state"),
    [
        (REBUILD, SLOTS),
        (b"ccollections\nOrderedDict\n", DICTIONARY),
        (b"ccollections\nOrderedDict\n", SLOTS),
        (STORAGE, DICTIONARY),
        (TENSOR, DICTIONARY),
        (TENSOR, SLOTS),
    ],
)
def test_a_pickle_cannot_alter_what_stands_for_its_objects(tmp_path, target, state):
    """BUILD can set attributes of functions and classes; an altered stand-in would read another file."""
    altering = b"\x80\x02}" + _text("0.weight") + TENSOR + b"s" + target + state + b"b0."
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", altering)
        archive.writestr("w/data/0", torch.ones(6).numpy().tobytes())
    with pytest.raises(ModelError, match=r"cannot be read|damaged"):
        read(tmp_path / "w.pt")


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save({"model": linear(), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(
        ModelError, match=r"whole module \(torch.nn.modules.container.Sequential.*run code: refused"
    ):
        read(tmp_path / "w.pt")


def test_every_layout_of_a_tensor_is_read_as_torch_reads_it(tmp_path):
    whole = torch.arange(24.0).reshape(2, 3, 4)
    state = {
        "view": whole[1, 1:],
        "turned": whole.permute(2, 0, 1),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "half": whole.half(),
        "brain": whole.bfloat16(),
        "double": whole.double(),
        "long": torch.tensor([2**40, -1]),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "parameter": nn.Parameter(whole[0]),
    }
    for file in (tmp_path / "new.pt", tmp_path / "old.pt", tmp_path / "unchecked.pt"):
        torch.serialization.set_crc32_options(file.stem != "unchecked")
        torch.save(state, file, _use_new_zipfile_serialization=file.stem != "old")
        torch.serialization.set_crc32_options(True)
        found, theirs = read(file, state), torch.load(file, weights_only=True)
        assert found.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(tmp_path, dtype):
    torch.save(
        {k: v.to(dtype) if v.is_floating_point() else v for k, v in linear().state_dict().items()},
        tmp_path / "w",
    )
    target = linear()
    load_weights(target, read(tmp_path / "w"), "test")
    assert target[0].weight.dtype == torch.float32


def _shards(folder: Path, state: dict) -> Path:
    names = sorted(state)
    files = {"a-00001-of-00002.safetensors": names[:3], "a-00002-of-00002.safetensors": names[3:]}
    for file, keys in files.items():
        save_file({key: state[key] for key in keys}, folder / file)
    index = folder / "a.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {key: file for file, keys in files.items() for key in keys}}))
    return index


def test_shards_are_read_together_and_all_count_for_the_identity(tmp_path):
    state = linear().state_dict()
    index = _shards(tmp_path, state)
    found = read(index)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    (tmp_path / "net.py").write_text("build = None\n")
    spec = ModelSpec(source="python", name=f"{tmp_path}/net.py:build", weights=str(index))
    before = model_identity(spec)
    _shards(tmp_path, {**state, "1.weight": torch.zeros(3)})
    assert model_identity(spec) != before
    with pytest.raises(ModelError, match=r"missing: .*one of several shards: give the .index.json"):
        load_weights(
            linear(),
            read(tmp_path / "a-00001-of-00002.safetensors"),
            "weights 'a-00001-of-00002.safetensors'",
        )
    (tmp_path / "a-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"names the shard 'a-00002-of-00002.safetensors', which is not beside it"
    ):
        read(index)


def _zip_of(*names: str) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", b"", "is empty"),
        ("w.safetensors", b"", "is empty"),
        ("w.pt", b"hello, I am text", "16 bytes of another format"),
        ("w.safetensors", b"hello, I am text", "not a whole .safetensors file"),
        ("w.pt", b"PK\x03\x04 cut short", "cut short"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n", "run: git lfs pull"),
        ("w.pth", b"\n <!DOCTYPE html><html>404", "is a web page"),
        ("w.bin", b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page"),
        ("w.pt", b"\x1f\x8b\x08", "gzip archive; unpack"),
        ("w.tar", b"x" * 257 + b"ustar" + b"0" * 300, "tar archive; unpack"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("w.onnx", b"\x08\x07\x12\x07pytorch", "an ONNX graph"),
        ("w.pb", b"\n\x05abc", "a TensorFlow graph"),
        ("w.npz", _zip_of("a.npy"), "NumPy archive"),
        ("w.keras", _zip_of("metadata.json", "model.weights.h5"), "Keras"),
        ("w.pt", _zip_of("w/code/__torch__.py", "w/data.pkl", "w/constants.pkl"), "TorchScript archive"),
        ("w.zip", _zip_of("photos/1.jpg"), "zip archive of something else"),
        ("w.pkl", pickle.dumps({"a": 1}), "plain pickle"),
        ("w.json", b'{"a": 1}', "JSON text"),
        ("w.index.json", b'{"a": 1}', "no weight_map"),
        (
            "w.safetensors",
            struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
            "whole",
        ),
    ],
)
def test_files_that_are_no_weights_are_named_for_what_they_are(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_file_that_was_cut_short(tmp_path, old_format):
    torch.save(
        {"0.weight": torch.ones(500, 2)}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old_format
    )
    whole = (tmp_path / "w.pt").read_bytes()
    for num_bytes in (len(whole) // 8, len(whole) // 2, len(whole) - 20):
        (tmp_path / "w.pt").write_bytes(whole[:num_bytes])
        with pytest.raises(ModelError, match=r"cut short|damaged|another format"):
            read(tmp_path / "w.pt")


def test_a_flipped_bit_is_noticed(tmp_path):
    """torch.load itself does not check the CRC checksums."""
    torch.save({"0.weight": torch.ones(3, 2)}, tmp_path / "w.pt")
    whole = bytearray((tmp_path / "w.pt").read_bytes())
    whole[whole.index(torch.ones(6).numpy().tobytes())] ^= 1
    (tmp_path / "w.pt").write_bytes(whole)
    with pytest.raises(ModelError, match=r"damaged .*CRC"):
        read(tmp_path / "w.pt")


def test_a_folder_is_no_weights_file(tmp_path):
    with pytest.raises(ModelError, match="is a folder; give the file in it"):
        read(tmp_path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"lr": 0.1}, torch.zeros(1)])
def test_contents_that_are_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="not a state dict"):
        read(tmp_path / "w.pt")


def _quantised(tensor: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_quantised, "'0.weight', which is quantised"),
        (lambda t: t.to("meta"), "meta device"),
        (lambda t: t.to_sparse(), "sparse"),
        (lambda t: t.to(torch.float8_e4m3fn), "float8"),
        (lambda t: t.to(torch.int8), "'0.weight' holds int8"),
        (lambda t: t.to(torch.complex64), "'0.weight' holds complex64"),
        (lambda t: t * float("nan"), "'0.weight' holds NaN"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path, make, message):
    state = linear().state_dict()
    torch.save({**state, "0.weight": make(state["0.weight"])}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=message):
        load_weights(linear(), read(tmp_path / "w.pt"), "test")


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


def test_another_number_of_classes_is_told():
    with pytest.raises(
        ModelError, match=r"0.weight 10x2 for 3x2.*weights have 10 classes and the network has 3"
    ):
        load_weights(nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(2, 10)).state_dict(), "w")


def test_counts_of_training_and_of_profilers_do_not_matter():
    state = linear().state_dict()
    del state["1.num_batches_tracked"]
    state |= {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1), "n_averaged": torch.tensor(3)}
    load_weights(linear(), state, "test")
    load_weights(linear(), {**state, "1.num_batches_tracked": torch.zeros(1)}, "test")


def test_numpy_weights_are_refused_by_name(tmp_path):
    torch.save({"0.weight": np.zeros((3, 2), np.float32)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"in objects of numpy\S*_reconstruct.*run code: refused"):
        read(tmp_path / "w.pt")
