"""The work of `atlas init`: write a config that fits a network and images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from atlas_pipeline.config.loading import named_network, parse_config
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.engine.atomic_files import atomic_file
from atlas_pipeline.engine.hardware import resolved_device
from atlas_pipeline.errors import ConfigError, ModelError, WeightsError, counted
from atlas_pipeline.models.network_name import network_name
from atlas_pipeline.runs.init_facts import images_facts, network_facts
from atlas_pipeline.runs.init_text import config_text, cost_words, plan_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """network: ``SOURCE:NAME``. weights: None: the network's own. images: a path, or ``generated``.

    layers: empty: they are proposed. name: of the run; None: that of the output, or else of the images.
    output: None: ``NAME.yaml``.
    """

    network: str
    weights: str | None
    images: str
    layers: Sequence[str] = ()
    name: str | None = None
    output: Path | None = None
    is_forced: bool = False


def init(request: Request, say: Callable[[str], None]) -> Path:
    """Write the config; returns its path.

    Raises: ConfigError: the file exists, or there is no such source. ImagesError: no images. ModelError: the
            network cannot be opened, or lacks a layer.
    """
    model = named_network(request.network)
    if model is None:
        raise ConfigError(
            f"--network '{request.network}' is not of the form SOURCE:NAME, e.g. torchvision:resnet18, "
            "timm:convnext_tiny or python:path/to/file.py:build"
        )
    model |= {} if request.weights is None else {"weights": request.weights}
    name = request.name or _default_name(request, model["source"], model.get("name"))
    path = request.output or Path(f"{name}.yaml")
    if path.exists() and not request.is_forced:
        raise ConfigError(f"'{path}' exists; give another name by --name, or --force to write over it")
    # Check the names before the slow part.
    placeholder = {"name": name, "model": model, "images": {"source": "generated"}, "layers": ["later"]}
    spec = model_spec(parse_config(placeholder, where="atlas init"))
    say(f"looking for images in {request.images} ...")
    images = images_facts(request.images)
    say(f"{counted(images.num_images, 'image')} ({images.source}); opening {request.network} ...")
    try:
        network = network_facts(spec, request.layers, images.num_images, say)
    except WeightsError as error:
        raise ModelError(
            f"{error.reason}; give {error.file} by --weights, or take the network untrained: --weights random"
        ) from error
    has_gpu = resolved_device("auto") != "cpu"
    plan = plan_for(images.num_images, network.positions, has_gpu=has_gpu)
    text = config_text(name, model, images, network, plan, str(path))
    parse_config(yaml.safe_load(text), where=str(path))
    with atomic_file(path) as file:
        file.write(text.encode())
    chosen = ", ".join(info.name for info in network.layers)
    say(f"{counted(len(network.layers), 'layer')}: {chosen}")
    say(cost_words(images, network, plan))
    return path


def _default_name(request: Request, source: str, name: str | None) -> str:
    """The run's name, after the config's file, the images' folder, or the network for generated images."""
    images = request.images
    if request.output is not None:
        return _plain(request.output.stem)
    parts = [part for part in Path(images).expanduser().absolute().parts if not set("*?[") & set(part)]
    return _plain(network_name(source, name) if images == "generated" else Path(parts[-1]).stem)


def _plain(text: str) -> str:
    """The text as a folder's name."""
    return re.sub(r"[^\w-]+", "-", text).strip("-") or "atlas"
