"""The inputs of an inversion benchmark: a network, a layer, directions, and real crops for comparison.

`case_of` makes a case from the images of a config. `read_case` reads one that an earlier run wrote, so that
a machine with only torch and NumPy can run the race too. N = direction, K = channel, S = icon side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from atlas_pipeline.inversion import InversionSettings, centre_activation
from atlas_pipeline.models import ModelSpec, Network, feature_maps, open_network
from atlas_pipeline.models.cut import cut

if TYPE_CHECKING:
    import pyarrow as pa

    from atlas_pipeline.config.sections import Config

NUM_CROPS = 256
READ_BATCH = 100


@dataclass(frozen=True, eq=False)
class Case:
    """Inputs shared by all engines."""

    spec: ModelSpec
    network: Network
    layer: str
    settings: InversionSettings
    directions: Tensor
    """(N, K) float32, on the CPU."""
    crops: Tensor
    """(image, S, S, 3) uint8, from real images."""

    def cut(self) -> nn.Module:
        """A module from images (B, 3, S, S) in [0, 1] to the feature map (B, K, rows, columns)."""
        return cut(self.network, self.layer)


def timing_case(spec: ModelSpec, layer: str, size_px: int, num: int, device: str) -> Case:
    """A case of random directions, non-negative like activations; enough to time a step."""
    network = open_network(spec).to(device)
    with torch.no_grad():
        grey = torch.full((1, 3, size_px, size_px), 0.5, device=device)
        num_channels = feature_maps(network, grey, [layer])[layer].shape[1]
    directions = torch.rand(num, num_channels, generator=torch.Generator().manual_seed(0))
    settings = InversionSettings(size_px=size_px)
    crops = torch.empty(0, size_px, size_px, 3, dtype=torch.uint8)
    return Case(spec, network, layer, settings, directions, crops)


def case_of(config: Config, layer: str, num_images: int, num_directions: int, device: str) -> Case:
    """A case from the images of a config: one activation per image, grouped by k-means.

    Spatial positions are drawn as the pipeline draws them. Unit vectors are grouped; a direction is the mean
    of the unnormalised activations in its group.
    """
    from atlas_pipeline.config.run_settings import model_spec

    spec = model_spec(config)
    network = open_network(spec).to(device)
    activations, crops = zip(*_read(config, network, layer, _listing(config, num_images)), strict=True)
    directions = torch.from_numpy(group_means(np.concatenate(activations), num_directions))
    return Case(spec, network, layer, config.invert, directions, torch.cat(crops)[:NUM_CROPS])


def group_means(activations: np.ndarray, num_groups: int) -> np.ndarray:
    """Mean activation of each group of similar directions.

    Args:    activations: (row, K); rows of zeros are left out.
    Returns: (num_groups, K) float32.
    """
    from sklearn.cluster import KMeans

    lengths = np.linalg.norm(activations, axis=1, keepdims=True)
    nonzero = lengths[:, 0] > 0
    activations, lengths = activations[nonzero], lengths[nonzero]
    groups = KMeans(num_groups, random_state=0, n_init=1).fit_predict(activations / lengths)
    return np.stack([activations[groups == group].mean(0) for group in range(num_groups)]).astype(np.float32)


def _listing(config: Config, num_images: int) -> pa.Table:
    from atlas_pipeline.images.listing import list_images

    images = config.images
    return list_images(images.source, images.path, num_images, config.seed)


def _read(
    config: Config, network: Network, layer: str, rows: pa.Table
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield for each batch the activations (image, K) float32 and the crops (image, S, S, 3) uint8."""
    from atlas_pipeline.images.batches import image_batches
    from atlas_pipeline.numerics.positions import relative_positions, spatial_positions

    batches = image_batches(
        rows, config.images.source, config.images.path, network.preprocess, config.seed, READ_BATCH, 0
    )
    for batch in batches:
        with torch.no_grad():
            maps = feature_maps(network, batch.images.to(network.device), [layer])[layer].cpu()
        relative = relative_positions(config.seed, batch.image_id)
        place = spatial_positions(relative, *maps.shape[-2:], edge=config.sample.edge)[:, 0].astype(np.int64)
        activations = maps[torch.arange(len(maps)), :, place[:, 0], place[:, 1]]
        yield activations.numpy(), centre_crops(batch.images, config.invert.size_px)


def centre_crops(images: Tensor, size_px: int) -> Tensor:
    """Central crops (image, S, S, 3) of uint8 images (image, 3, height, width); small images are enlarged."""
    if min(images.shape[-2:]) < size_px:
        enlarged = nn.functional.interpolate(images.float(), (size_px, size_px), mode="bicubic")
        images = enlarged.round().clamp(0, 255).to(torch.uint8)
    return middle(images, size_px).permute(0, 2, 3, 1).contiguous()


def middle(images: Tensor, size_px: int) -> Tensor:
    """Central square of images (..., height, width)."""
    top, left = ((side - size_px) // 2 for side in images.shape[-2:])
    return images[..., top : top + size_px, left : left + size_px]


def finished_activations(feature_map: nn.Module, images: Tensor, device: str) -> Tensor:
    """Activations of finished icons at the centre of the feature map, from their 8-bit pixels.

    Args:    feature_map: the cut network. images: (N, S, S, 3) uint8.
    Returns: (N, K) float32, on the CPU.
    """
    with torch.no_grad():
        pixels = images.permute(0, 3, 1, 2).float() / 255
        parts = [centre_activation(feature_map(part.to(device))).cpu() for part in pixels.split(32)]
    return torch.cat(parts)


def write_case(case: Case, path: Path) -> None:
    """Write a case, including the weights, to one .pt file that loads without running code."""
    spec = asdict(replace(case.spec, labels=None))
    torch.save(
        {
            "state_dict": case.network.module.state_dict(),
            "spec": {key: value for key, value in spec.items() if key != "weights"},
            "layer": case.layer,
            "settings": asdict(case.settings),
            "directions": case.directions,
            "crops": case.crops,
        },
        path,
    )


def read_case(path: Path, device: str) -> Case:
    """Read a case that `write_case` wrote."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    # This file also serves as the weights file: readers of weights look for the key "state_dict".
    spec = ModelSpec(**saved["spec"], weights=str(path))
    network = open_network(spec).to(device)
    settings = InversionSettings(**saved["settings"])
    return Case(spec, network, saved["layer"], settings, saved["directions"], saved["crops"])
