"""Facts about images and a network, which `atlas init` finds out before it writes a config."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_pipeline.errors import ImagesError, ModelError, counted
from atlas_pipeline.images.folder_files import shard_files
from atlas_pipeline.images.listing import class_names, listing
from atlas_pipeline.images.sources import SOURCES
from atlas_pipeline.images.sources.folder import image_keys
from atlas_pipeline.models.network_cache import opened_cut, opened_network
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.runs.layer_list import layer_list

if TYPE_CHECKING:
    from atlas_pipeline.models import LayerInfo, Network

# Icons as large as the article's; larger if their map would have fewer than three positions a side, smaller
# if a position sees less.
_ARTICLE_PX, _POSITIONS, _LEAST_PX, _MULTIPLE_PX = 80, 3, 32, 16
# With fewer activations, a map of one position an image is sparse; an image then gives several.
_ENOUGH, _MOST_POSITIONS = 1500, 4
# With so many backward passes an image, sampling takes longer than everything else.
_MOST_BACKWARD_PASSES = 50
_TIMED_IMAGES, _TIMED_ICONS, _TIMED_STEPS = 4, 8, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesFacts:
    """path: None if the source takes none. num_classes: classes of the labels; 0: there are no labels."""

    source: str
    path: str | None
    num_images: int
    num_classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """The layers to take, and what a run with them costs.

    positions: of an image. size_px: side of the icons. attribution: whether attributions can be had at a
    bearable cost; words: the reason, or the cost. image_s: seconds of sampling an image at all positions,
    None if not measured. icon_step_s: seconds of an optimisation step of one icon.
    """

    title: str
    layers: tuple[LayerInfo, ...]
    num_ends: int
    positions: int
    size_px: int
    attribution: bool
    words: str
    image_s: float | None
    icon_step_s: float


def images_facts(path: str) -> ImagesFacts:
    """Find and count the images at a path; ``generated`` stands for our own generated images.

    Raises: ImagesError: there are none.
    """
    source = SOURCES.get(path)
    if source is not None and not source.takes_path:
        return ImagesFacts(source=path, path=None, num_images=source.num_images or 0, num_classes=0)
    name = _source_at(path)
    if name == "folder":
        num_images = len(image_keys(path)[0])
    else:
        num_images = listing(name, path, None, 0).images.num_rows
    names = class_names(name, path) or []
    return ImagesFacts(source=name, path=path, num_images=num_images, num_classes=len(names))


def _source_at(path: str) -> str:
    """The source that reads a path: shards by their suffix, or a folder of image files."""
    place = Path(path).expanduser()
    shards = {name: source.extensions for name, source in SOURCES.items() if source.in_shards}
    if not place.is_dir():
        suffix = place.suffix.lower().removeprefix(".")
        return next((name for name, extensions in shards.items() if suffix in extensions), "folder")
    try:
        image_keys(path)
    except ImagesError:
        for name, extensions in shards.items():
            if shard_files(place, extensions)[0]:
                return name
        raise
    return "folder"


def network_facts(
    spec: ModelSpec, layers: Sequence[str], num_images: int, say: Callable[[str], None]
) -> NetworkFacts:
    """Open a network on the CPU, choose its layers unless they are given, and measure what they cost.

    Raises: ModelError: the network cannot be opened, or lacks a layer.
    """
    from atlas_pipeline.models import check_layers, list_layers

    network = opened_network(spec, "cpu")
    check_layers(network, layers)
    listed = layer_list(spec, is_all=False, say=say)
    chosen = [info for info in listed.infos if info.name in listed.proposed]
    if layers:
        chosen = list_layers(network, names=layers)
    size_px = _icon_size(network, spec, chosen[-1])
    positions = positions_per_image(
        num_images, min(((info.height, info.width) for info in chosen), default=(1, 1))
    )
    say(f"measuring what attributions and icons of {counted(len(chosen), 'layer')} cost ...")
    attribution, words, image_s = _attribution(network, [info.name for info in chosen], positions)
    return NetworkFacts(
        title=listed.title,
        layers=tuple(chosen),
        num_ends=len(listed.infos),
        positions=positions,
        size_px=size_px,
        attribution=attribution,
        words=words,
        image_s=image_s,
        icon_step_s=_icon_step_seconds(spec, chosen, size_px),
    )


def positions_per_image(num_images: int, map_sides: tuple[int, int]) -> int:
    """Positions that an image gives: several where images are few. map_sides: of the smallest map.

    >>> positions_per_image(300, (7, 7)), positions_per_image(5000, (7, 7))
    (4, 1)
    """
    # Positions are drawn off the border, so a small map has few.
    inner = max(1, map_sides[0] - 2) * max(1, map_sides[1] - 2)
    return max(1, min(_MOST_POSITIONS, round(_ENOUGH / num_images), inner // 4))


def _icon_size(network: Network, spec: ModelSpec, deepest: LayerInfo) -> int:
    """Side of the icons: what a position of the deepest layer sees, or enough for a few positions.

    Some networks, such as most transformers, take images of their own size only.
    """
    import torch

    crop = network.preprocess.crop
    wanted = max(_ARTICLE_PX, _POSITIONS * deepest.stride_px)
    wanted = max(_LEAST_PX, min(wanted, deepest.receptive_field_px or crop))
    size_px = min(crop, -(-wanted // _MULTIPLE_PX) * _MULTIPLE_PX)
    try:
        with torch.no_grad():
            opened_cut(spec, deepest.name, "cpu")(torch.zeros(2, 3, size_px, size_px))
    except ModelError:
        return crop
    return size_px


def _attribution(network: Network, layers: Sequence[str], positions: int) -> tuple[bool, str, float | None]:
    """Whether attributions can be had; their cost in words; seconds of sampling an image with them."""
    from atlas_pipeline.models.attribution_mode import attribution_mode

    try:
        modes = [attribution_mode(network, None, layer, "smooth") for layer in layers]
    except ModelError as error:
        return False, f"not to be had: {error}", None
    if any(mode.mode == "backward" for mode in modes) and network.num_classes > _MOST_BACKWARD_PASSES:
        return False, f"they would take {network.num_classes} backward passes an image and layer", None
    plain_s, image_s = (
        _seconds_per_image(network, layers, positions, with_them) for with_them in (False, True)
    )
    return True, f"with them, sampling takes {max(1.0, image_s / plain_s):.1f} times as long", image_s


def _seconds_per_image(
    network: Network, layers: Sequence[str], num_positions: int, with_attribution: bool
) -> float:
    import numpy as np

    from atlas_pipeline.models.calibrate import noise_images
    from atlas_pipeline.models.layer_samples import (
        AttributionRequest,
        LayerRequest,
        layer_samples,
        map_shape,
    )

    how = AttributionRequest(method="gradient", maxpool_gradient="smooth") if with_attribution else None
    images = noise_images(network.preprocess.crop, 0, _TIMED_IMAGES)
    requests = []
    for layer in layers:
        _, rows, columns = map_shape(network, layer)
        positions = np.tile([rows // 2, columns // 2], (_TIMED_IMAGES, num_positions, 1))
        requests.append(LayerRequest(layer=layer, positions=positions, attribution=how))
    # The first call tries the derivatives of each layer.
    layer_samples(network, images, requests)
    started = time.perf_counter()
    layer_samples(network, images, requests)
    return (time.perf_counter() - started) / _TIMED_IMAGES


def _icon_step_seconds(spec: ModelSpec, layers: Sequence[LayerInfo], size_px: int) -> float:
    """Mean over the first and the last layer."""
    import torch

    from atlas_pipeline.inversion import InversionSettings, invert

    settings = InversionSettings(size_px=size_px, steps=_TIMED_STEPS)

    def seconds(info: LayerInfo) -> float:
        ends: list[float] = []
        invert(
            opened_cut(spec, info.name, "cpu"),
            torch.rand(_TIMED_ICONS, info.num_channels, generator=torch.Generator().manual_seed(0)),
            range(_TIMED_ICONS),
            settings,
            advance=lambda _: ends.append(time.perf_counter()),
        )
        # The shortest step: other programs and a first use of memory only make steps longer.
        return min(after - before for before, after in pairwise(ends[:_TIMED_STEPS])) / _TIMED_ICONS

    return (seconds(layers[0]) + seconds(layers[-1])) / 2
