"""The choice of a network and its weights. No torch at import: ``atlas status`` reads this."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.checkpoint.formats import DCP_TO_TORCH, SHARDS_SUFFIX
from atlas_pipeline.models.checkpoint.outline import read_outline, shard_files
from atlas_pipeline.models.checkpoint.sets import averaged_set, entries_of
from atlas_pipeline.models.named_file import named_file

WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".safetensors", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """How to open a network: the ``model`` section of a config, plain and picklable.

    source: one of ``models.sources``. name: which of the source's networks, where it has several: a
    torchvision or timm name, ``my_package.my_file:build`` or ``path/to/file.py:build``. weights: None (the
    source's own), ``random``, a name where the source has named weights, or a file. weights_key: dotted key
    of a set of weights in that file; None: see `weights_set`. labels: None (the source's own) or a file of
    names, see `label_file`. preprocess: keys that replace the network's own. seed: for random parameters.
    A file is a path, or lies in an installed package (see `named_file`).
    """

    source: str
    name: str | None = None
    weights: str | None = None
    weights_key: str | None = None
    labels: str | None = None
    preprocess: Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the weights key.

        Raises: ModelError: a key for weights that are no file.
        """
        if self.weights_key is not None and self.weights_kind != "file":
            raise ModelError(
                f"model.weights_key '{self.weights_key}' chooses among the sets of a weights file; set "
                "model.weights to the file, or leave weights_key out"
            )

    @property
    def weights_kind(self) -> Literal["own", "random", "named", "file"]:
        """The kind of the weights' origin."""
        if self.weights is None:
            return "own"
        if self.weights == "random":
            return "random"
        # Not at the top, since the sources import this module.
        from atlas_pipeline.models.sources import SOURCES

        is_path = "/" in self.weights or Path(self.weights).suffix.lower() in WEIGHTS_SUFFIXES
        may_be_name = self.source in SOURCES and SOURCES[self.source].has_named_weights
        return "named" if may_be_name and not is_path else "file"


def weights_file(spec: ModelSpec) -> Path:
    """The weights file of a spec whose weights are a file.

    Raises: ModelError: the file does not exist.
    """
    path = named_file(str(spec.weights), "model.weights")
    if path.is_dir():
        remedy = f"convert it by {DCP_TO_TORCH}" if (path / ".metadata").is_file() else "give the file in it"
        raise ModelError(f"model.weights: '{spec.weights}' is a folder; {remedy}")
    if not path.is_file():
        raise ModelError(
            f"model.weights: there is no file '{spec.weights}'; give a .pt, .pth or .safetensors file"
        )
    return path


def weights_digest(spec: ModelSpec) -> str:
    """sha256 of a spec's weights file, hexadecimal; for an index of shards, that of the shards' digests.

    Raises: ModelError: a file is missing or cannot be read.
    """
    path = weights_file(spec)
    if not path.name.endswith(SHARDS_SUFFIX):
        return file_digest(path)
    digests = "".join(file_digest(file) for file in shard_files(path))
    return hashlib.sha256(digests.encode()).hexdigest()


def weights_set(spec: ModelSpec) -> str | None:
    """The key of the set to use in a weights file: ``weights_key``, or else averaged weights (EMA).

    None if there is one set, or if neither rule decides; the set that fits the network is then used.
    """
    if spec.weights_key is not None:
        return spec.weights_key
    path = weights_file(spec)
    status = path.stat()
    return _averaged_set(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _averaged_set(path: Path, changed_ns: int, num_bytes: int) -> str | None:
    try:
        return averaged_set(entries_of(read_outline(path), path))
    except ModelError:
        # The error appears when the network is opened, where the weights are needed.
        return None


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal.

    Raises: ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"model: file '{path}' cannot be read ({error.strerror}); check model.name, weights"
        ) from None
