"""Which network, and what of it affects values. No torch at import: ``atlas status`` reads this."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from atlas_pipeline.errors import ModelError, unknown_name
from atlas_pipeline.models.checkpoint.formats import DCP_TO_TORCH, SHARDS_SUFFIX
from atlas_pipeline.models.checkpoint.outline import read_outline, shard_files
from atlas_pipeline.models.checkpoint.sets import averaged_set, entries_of
from atlas_pipeline.models.preprocess import Preprocess

SOURCES = ("demo", "inception_v1", "torchvision", "timm", "python")
WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".safetensors", ".json")
DEMO_WEIGHTS = Path(__file__).with_name("demo.safetensors")
# Of inception_v1: the graph that Google trained, and what lucent's port of it computes.
INCEPTION_V1_VARIANTS = ("original", "lucent")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """How to open a network; the ``model`` section of a config, plain and picklable.

    source: demo, inception_v1, torchvision, timm or python. name: torchvision's or timm's name, or
    ``my_package.my_file:build`` or ``path/to/file.py:build``; of inception_v1 None or ``lucent``. weights:
    None (the source's own), ``random``, torchvision's name of weights, or a file. weights_key: which of the
    sets in that file, dotted; None: see `weights_set`. labels: None (the source's own) or a file of names,
    see `label_file`. preprocess: keys that replace the network's own. seed: of random parameters.
    """

    source: str
    name: str | None = None
    weights: str | None = None
    weights_key: str | None = None
    labels: str | None = None
    preprocess: Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises: ModelError: a key of weights that are no file."""
        if self.weights_key is not None and self.weights_kind != "file":
            raise ModelError(
                f"model.weights_key '{self.weights_key}' chooses among the sets of a weights file; set "
                "model.weights to the file, or leave weights_key out"
            )

    @property
    def weights_kind(self) -> Literal["own", "random", "named", "file"]:
        """Where the weights come from."""
        if self.weights is None:
            return "own"
        if self.weights == "random":
            return "random"
        is_path = "/" in self.weights or Path(self.weights).suffix.lower() in WEIGHTS_SUFFIXES
        return "file" if is_path or self.source != "torchvision" else "named"


def model_identity(spec: ModelSpec) -> dict[str, Any]:
    """All of a network that affects values, for fingerprints: contents, never paths; JSON-able.

    Labels are left out: they name classes and change no number. Of a python source its own file counts, not
    what that imports; files it opens by itself are not seen, so weights should be given as ``weights``.

    Raises: ModelError: an unknown source or name, a file that is not there, or mean and std in other units.
    """
    if spec.source not in SOURCES:
        raise ModelError(unknown_name("model source", spec.source, SOURCES, "this program"))
    # Said before anything runs. What depends on the network's own values is said when it is opened.
    colours = {k: v for k, v in (spec.preprocess or {}).items() if k in ("mean", "std")}
    Preprocess().override(colours, "model.preprocess")
    identity: dict[str, Any] = {"source": spec.source, "weights": _weights_identity(spec)}
    if spec.source == "torchvision":
        identity["name"] = spec.name
    if spec.source == "timm":
        # The tag decides on the preprocessing; of timm's own weights it stands there, spelled out.
        own = spec.weights_kind == "own"
        identity["name"] = str(spec.name).partition(".")[0] if own else spec.name
    if spec.source == "inception_v1":
        identity["variant"] = check_inception_v1(spec)
    if spec.source == "python":
        from atlas_pipeline.models.python_target import locate

        target = locate(spec.name)
        identity |= {"attribute": target.attribute, "code_sha256": file_digest(target.file)}
    identity["preprocess"] = dict(spec.preprocess) if spec.preprocess else None
    return identity


def _weights_identity(spec: ModelSpec) -> dict[str, Any]:
    kind = spec.weights_kind
    if kind == "file":
        key = weights_set(spec)
        # Only where it decides: files with one set of weights had their identity before there was a key.
        return {"sha256": weights_digest(spec)} | ({"key": key} if key is not None else {})
    if kind == "random":
        return {"random": True, "seed": spec.seed}
    if spec.source == "demo":
        return {"sha256": file_digest(DEMO_WEIGHTS)}
    if spec.source == "python":
        # What builds the network may draw its parameters: it is called under the seed.
        return {"built_with_seed": spec.seed}
    if spec.source == "timm":
        from atlas_pipeline.models.timm_names import full_name

        return {"named": full_name(spec.name)}
    if spec.source == "inception_v1":
        check_inception_v1(spec)
    from atlas_pipeline.models.torchvision_names import find_weights

    return {"named": str(find_weights(spec.name, spec.weights))}


def check_inception_v1(spec: ModelSpec) -> str:
    """Which of INCEPTION_V1_VARIANTS a spec of that source asks for.

    Raises: ModelError: an unknown one, or no weights.
    """
    variant = spec.name or INCEPTION_V1_VARIANTS[0]
    if variant not in INCEPTION_V1_VARIANTS:
        raise ModelError(unknown_name("model", variant, INCEPTION_V1_VARIANTS, "inception_v1"))
    if spec.weights_kind == "own":
        raise ModelError(
            "inception_v1 comes without weights; set model.weights to the file inception5h.pth of lucent or "
            "of Captum's optim branch, or to 'random'"
        )
    return variant


def weights_file(spec: ModelSpec) -> Path:
    """The weights file of a spec whose weights are a file.

    Raises: ModelError: it is not there.
    """
    path = Path(str(spec.weights)).expanduser()
    if path.is_dir():
        remedy = f"convert it by {DCP_TO_TORCH}" if (path / ".metadata").is_file() else "give the file in it"
        raise ModelError(f"model.weights: '{spec.weights}' is a folder; {remedy}")
    if not path.is_file():
        raise ModelError(
            f"model.weights: there is no file '{spec.weights}'; give a .pt, .pth or .safetensors file"
        )
    return path


def weights_digest(spec: ModelSpec) -> str:
    """sha256 of a spec's weights file, hexadecimal; of an index of shards that of the shards' own, in order.

    Raises: ModelError: a file is not there or cannot be read.
    """
    path = weights_file(spec)
    if not path.name.endswith(SHARDS_SUFFIX):
        return file_digest(path)
    digests = "".join(file_digest(file) for file in shard_files(path))
    return hashlib.sha256(digests.encode()).hexdigest()


def weights_set(spec: ModelSpec) -> str | None:
    """Which of several sets in a weights file is meant: ``weights_key``, else averaged weights (EMA).

    None where there is one set, or nothing tells which: then that counts which fits the network.
    """
    if spec.weights_key is not None:
        return spec.weights_key
    path = weights_file(spec)
    facts = path.stat()
    return _averaged_set(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4)
def _averaged_set(path: Path, changed_ns: int, num_bytes: int) -> str | None:
    try:
        return averaged_set(entries_of(read_outline(path), path))
    except ModelError:
        # It is said when the network is opened, where the weights are needed.
        return None


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal.

    Raises: ModelError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"model: file '{path}' cannot be read ({error.strerror}); check model.name, weights"
        ) from None
