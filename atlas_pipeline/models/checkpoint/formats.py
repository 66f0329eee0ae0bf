"""The kind of a weights file, told by its first bytes. No torch."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Literal

from atlas_pipeline.errors import ModelError

Kind = Literal["zip", "legacy", "safetensors", "shards"]

STATE_DICT = "save a plain state dict: torch.save(model.state_dict(), path)"
DCP_TO_TORCH = "torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
HEAD_BYTES = 512
SHARDS_SUFFIX = ".index.json"
# Start of a file in torch.save's format before zip archives: a pickle of this number.
LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
# Offset, in a zip record's header, of the lengths of its name and extra field.
LENGTHS_OFFSET = 26
COPY_AGAIN = "copy or download it again"
# Other formats by their first bytes: name and remedy.
OTHER_FORMATS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer and not the weights", "run: git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, TensorFlow)", "convert it to PyTorch"),
    (b"\x93NUMPY", "a NumPy array", STATE_DICT),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"BZh", "a bzip2 archive", "unpack it"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it"),
    (b"(\xb5/\xfd", "a zstandard archive", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"GGUF", "a GGUF file", "give the PyTorch weights that it was made from"),
)
# Other formats by suffix, where the first bytes do not tell.
OTHER_SUFFIXES = {
    ".onnx": "an ONNX graph",
    ".pb": "a TensorFlow graph",
    ".tflite": "a TensorFlow Lite graph",
    ".h5": "a Keras file",
    ".keras": "a Keras file",
    ".msgpack": "a Flax file",
    ".npz": "a NumPy archive",
    ".mlmodel": "a Core ML model",
    ".engine": "a TensorRT engine",
}


def kind_of(path: Path) -> Kind:
    """How ``path`` stores its tensors.

    Raises: ModelError: empty, truncated, or not PyTorch weights; the message names the format.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise weights_error(path, f"cannot be read ({error.strerror})", "check model.weights") from None
    if not head:
        raise weights_error(path, "is empty", COPY_AGAIN)
    if path.suffix == ".distcp":
        raise weights_error(
            path, "is part of a distributed checkpoint", f"convert its folder by {DCP_TO_TORCH}"
        )
    if path.name.endswith(SHARDS_SUFFIX):
        return "shards"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head[:1] == b"\x80" and LEGACY_MAGIC in head[:16]:
        return "legacy"
    if _is_safetensors(head):
        return "safetensors"
    what, remedy = _other_format(path, head, size)
    raise weights_error(path, what, remedy)


def record_of(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    """A record of a zip archive, verified by its checksum if it has one.

    Raises: KeyError, BadZipFile, EOFError: the record is missing or damaged.
    """
    record = archive.getinfo(name)
    if record.CRC or not record.file_size or record.compress_type != zipfile.ZIP_STORED:
        return archive.read(record)
    # torch.serialization.set_crc32_options(False) omits checksums, which zipfile requires.
    with path.open("rb") as file:
        file.seek(record.header_offset + LENGTHS_OFFSET)
        name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
        file.seek(name_bytes + extra_bytes, 1)
        if file.tell() + record.file_size > path.stat().st_size:
            raise EOFError(f"it ends within '{name}'")
        return file.read(record.file_size)


def weights_error(path: Path, what: str, remedy: str) -> ModelError:
    """The error for an unusable weights file: ``weights file 'w.pt' is empty; copy it again``."""
    return ModelError(f"weights file '{path}' {what}; {remedy}")


def _zip_kind(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        raise weights_error(path, "is cut short (a zip archive without its end)", COPY_AGAIN) from None
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        raise weights_error(path, "is a TorchScript archive, a program with its weights", STATE_DICT)
    if sum(name.endswith("/data.pkl") for name in names) == 1:
        return "zip"
    what = "is a zip archive of something else"
    if names and all(name.endswith(".npy") for name in names):
        what = "is a NumPy archive"
    elif any("exported_program" in name or name.endswith("archive_format") for name in names):
        what = "is a program of torch.export"
    elif "model.weights.h5" in names:
        what = "is a Keras file"
    raise weights_error(path, f"{what} ('{names[0]}')" if names else "is an empty zip archive", STATE_DICT)


def _is_safetensors(head: bytes) -> bool:
    # The header's length in 8 bytes, then the header in JSON. The format limits it to 100 MB.
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000


def _other_format(path: Path, head: bytes, size: int) -> tuple[str, str]:
    for magic, name, remedy in OTHER_FORMATS:
        if head.startswith(magic):
            return f"is {name}", remedy
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return "is a web page and not the weights", "download the file itself"
    if head[257:262] == b"ustar":
        return "is a tar archive", "unpack it"
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite graph", "convert it to PyTorch"
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return "is not a whole .safetensors file: its header cannot be read", COPY_AGAIN
    if suffix in OTHER_SUFFIXES or b"onnx" in head[:64].lower():
        return f"is {OTHER_SUFFIXES.get(suffix, 'an ONNX graph')}", "convert it to PyTorch"
    if suffix == ".index" or ".data-0000" in path.name:
        return "is part of a TensorFlow checkpoint", "convert it to PyTorch"
    if head[:1] == b"\x80":
        return "is a plain pickle, which is not read", STATE_DICT
    if text.startswith((b"{", b"[")):
        return "is JSON text", "give the file with the tensors"
    return f"cannot be read as a PyTorch state dict ({size} bytes of another format)", STATE_DICT
