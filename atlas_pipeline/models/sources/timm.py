"""timm's networks, with timm's own weights, weights from a file, or random weights. timm is an extra."""

from __future__ import annotations

import math
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from atlas_pipeline.errors import ModelError, WeightsError, unknown_name
from atlas_pipeline.extras import install_command
from atlas_pipeline.models.model_source import ModelSource, Opened
from atlas_pipeline.models.preprocess import INTERPOLATIONS, Preprocess
from atlas_pipeline.models.sources.torchvision import misfit
from atlas_pipeline.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


def load_timm() -> Any:
    """The package timm.

    Raises: ModelError: timm is not installed, or its torchvision was built for another torch.
    """
    try:
        import timm
    except ImportError as error:
        raise ModelError(
            f"model.source: timm needs the package timm ({error}); install it with: {install_command('timm')}"
        ) from error
    except RuntimeError as error:
        raise ModelError(misfit("timm", error)) from error
    return timm


def check_name(name: str | None) -> str:
    """Return ``name`` if timm has such a network; a tag chooses the weights, as in ``resnet50.a1_in1k``.

    Raises: ModelError: no such network or tag (the message gives the nearest), or timm is not installed.
    """
    timm = load_timm()
    architecture, _, tag = str(name).partition(".")
    # Names of hubs and folders contain colons; weights from there have no stable name.
    if not timm.is_model(architecture):
        known = timm.list_models()
        raise ModelError(unknown_name("model", architecture, known, f"timm {timm.__version__}"))
    tags = _tags(timm, architecture)
    if tag and tag not in tags:
        raise ModelError(unknown_name("weights", tag, tags, f"timm's {architecture}"))
    return str(name)


def _tags(timm: Any, architecture: str) -> list[str]:
    names = timm.list_pretrained(f"{architecture}.*")
    return [str(name).partition(".")[2] for name in names]


def full_name(name: str | None) -> str:
    """The network's name with the tag of its weights, by default the tag of timm's default weights.

    Raises: ModelError: no such network or tag, or a network without weights.
    """
    timm = load_timm()
    cfg = timm.get_pretrained_cfg(check_name(name))
    architecture = str(name).partition(".")[0]
    if cfg is None or not cfg.has_weights:
        raise WeightsError(f"timm has no weights of {name}")
    return f"{architecture}.{cfg.tag}" if cfg.tag else architecture


def timm_labels(name: str | None) -> tuple[str, ...] | None:
    """The classes of the network's own head if they are one of ImageNet's lists; otherwise None.

    Raises: ModelError: no such network or tag, or timm is not installed.
    """
    timm = load_timm()
    from timm.data import ImageNetInfo, infer_imagenet_subset

    cfg = timm.get_pretrained_cfg(check_name(name))
    if cfg is None:
        return None
    if cfg.label_descriptions or cfg.label_names:
        return tuple(cfg.label_descriptions or cfg.label_names)
    subset = infer_imagenet_subset(cfg.to_dict())
    if subset is None:
        return None
    return _first_names(ImageNetInfo(subset).label_descriptions())


def _first_names(descriptions: list[str]) -> tuple[str, ...]:
    """Shorten ``tench, Tinca tinca`` to ``tench``, as torchvision does."""
    return tuple(description.partition(",")[0] for description in descriptions)


def _identity(spec: ModelSpec) -> dict[str, Any]:
    # The tag decides on the preprocessing. For timm's own weights, their identity already contains it.
    own = spec.weights_kind == "own"
    return {"name": str(spec.name).partition(".")[0] if own else spec.name}


def _open(spec: ModelSpec) -> Opened:
    """Open a timm network.

    Raises: ModelError: no timm, no such network or weights, a failed download, or weights that do not fit.
    """
    timm, name = load_timm(), check_name(spec.name)
    if spec.weights_kind == "file":
        module = _filled(timm, name, spec)
    elif spec.weights_kind == "random":
        module = timm.create_model(name)
    else:
        module = _downloaded(timm, name)
    return Opened(module, _preprocess(timm, module, name), timm_labels(name))


def _filled(timm: Any, name: str, spec: ModelSpec) -> nn.Module:
    from atlas_pipeline.models.weights import load_weights, other_head, read_state_dict

    module = timm.create_model(name)
    state = read_state_dict(spec, module.state_dict())
    num_classes = other_head(module.state_dict(), state, num_own=module.num_classes)
    if num_classes is not None:
        module = timm.create_model(name, num_classes=num_classes)
    load_weights(module, state, f"weights '{spec.weights}' for timm's {name}")
    return module


def _downloaded(timm: Any, name: str) -> nn.Module:
    wanted = full_name(name)
    no_address = _no_address()
    try:
        with _cached_files_only() if no_address else nullcontext():
            return timm.create_model(name, pretrained=True)
    except Exception as error:
        # The hub's client has its own error classes, and passes on errors of the libraries below it.
        reason = (str(no_address or error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise WeightsError(f"weights {wanted} cannot be downloaded by timm: {reason}") from error


def _no_address() -> str | None:
    """The reason why the hub's name has no address; None if it has one, or if a proxy looks it up."""
    from huggingface_hub import constants

    host = urllib.parse.urlsplit(constants.ENDPOINT).hostname
    if host is None or urllib.request.getproxies():
        return None
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        return f"{host}: {error.strerror or error}"
    return None


@contextmanager
def _cached_files_only() -> Iterator[None]:
    """Let the hub's client use its cache alone; without a network it repeats its requests for a minute."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _preprocess(timm: Any, module: nn.Module, name: str) -> Preprocess:
    """timm's evaluation preprocessing for these weights, at their training size."""
    config = timm.data.resolve_model_data_config(module)
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ModelError(
            f"timm's {name} takes images of {channels} x {height} x {width}; only square RGB images work here"
        )
    return Preprocess().override(
        {
            "resize": math.floor(height / config["crop_pct"]),
            "crop": height,
            "mean": config["mean"],
            "std": config["std"],
            "interpolation": _interpolation(config["interpolation"]),
        }
    )


def _interpolation(method: str) -> str:
    """Replace methods that we lack, such as Lanczos, by bicubic, our sharper one."""
    return method if method in INTERPOLATIONS else "bicubic"


TIMM = ModelSource(
    name="timm",
    open=_open,
    own_weights=lambda spec: {"named": full_name(spec.name)},
    identity=_identity,
    labels=lambda spec: timm_labels(spec.name),
    example="resnet50",
    packages=("timm",),
    citation="""@misc{model,
  title = {{PyTorch} Image Models},
  author = {Wightman, Ross},
  year = {2019},
  doi = {10.5281/zenodo.4414861},
  note = {%s},
}
""",
)
