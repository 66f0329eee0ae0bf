"""Read the numbers of the tensors in an outline, and no others: an optimiser's stay in the file."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atlas_pipeline.models.checkpoint.formats import COPY_AGAIN, STATE_DICT, kind_of, record_of, weights_error
from atlas_pipeline.models.checkpoint.outline import StoredTensor, read_outline

NUMEL_BYTES = 8
# Errors raised by reading a damaged file.
DAMAGE = (
    ArithmeticError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def read_tensors(stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """The tensors by name, on the CPU, in the file's dtypes.

    Raises: ModelError: a tensor without plain numbers (quantised, sparse, meta), or a damaged file.
    """
    for name, tensor in stored.items():
        if tensor.kind != "dense":
            raise weights_error(
                tensor.file,
                f"holds '{name}', which is {tensor.kind}",
                "save the state dict of the float32 network",
            )
    found: dict[str, Tensor] = {}
    for file in dict.fromkeys(tensor.file for tensor in stored.values()):
        here = {name: tensor for name, tensor in stored.items() if tensor.file == file}
        try:
            found |= _read_file(file, here)
        except DAMAGE as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise weights_error(file, f"is damaged ({reason})", COPY_AGAIN) from error
    return {name: found[name] for name in stored}


def _read_file(file: Path, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    kind = kind_of(file)
    if kind == "safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as reader:
                return {name: reader.get_tensor(tensor.storage) for name, tensor in stored.items()}
        except SafetensorError as error:
            raise EOFError(str(error)) from error
    wanted = {tensor.storage for tensor in stored.values()}
    raw = _zip_storages(file, wanted) if kind == "zip" else _legacy_storages(file, wanted)
    vectors: dict[tuple[str, str], Tensor] = {}
    for tensor in stored.values():
        if (tensor.storage, tensor.dtype) not in vectors:
            vectors[tensor.storage, tensor.dtype] = _vector(raw[tensor.storage], tensor.dtype)
    return {
        # as_strided raises beyond the end of the storage.
        name: vectors[t.storage, t.dtype].as_strided(t.shape, t.stride, t.offset)
        for name, t in stored.items()
    }


def _vector(raw: bytearray, dtype: str) -> Tensor:
    kind: Any = getattr(torch, dtype)
    if len(raw) % kind.itemsize:
        raise EOFError("a tensor ends within a number")
    return torch.frombuffer(raw, dtype=kind) if raw else torch.empty(0, dtype=kind)


def _zip_storages(file: Path, wanted: set[str]) -> dict[str, bytearray]:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        (record,) = [name for name in names if name.endswith("/data.pkl")]
        root = record.removesuffix("data.pkl")
        if f"{root}byteorder" in names and record_of(archive, file, f"{root}byteorder") != b"little":
            raise weights_error(file, "was saved on a big-endian machine", STATE_DICT)
        return {key: bytearray(record_of(archive, file, f"{root}data/{key}")) for key in wanted}


def _legacy_storages(file: Path, wanted: set[str]) -> dict[str, bytearray]:
    outline = read_outline(file)
    found: dict[str, bytearray] = {}
    with file.open("rb") as stream:
        stream.seek(outline.start)
        for key, item_bytes in outline.storages:
            (numel,) = struct.unpack("<Q", stream.read(NUMEL_BYTES))
            num_bytes = numel * item_bytes
            if stream.tell() + num_bytes > file.stat().st_size:
                raise EOFError("it ends within a tensor")
            if key in wanted:
                found[key] = bytearray(stream.read(num_bytes))
            else:
                stream.seek(num_bytes, 1)
    return found
