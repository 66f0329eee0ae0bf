"""A tiny random network with a non-zero feature map, and settings that run in tenths of a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from atlas_pipeline.inversion import InversionSettings

NUM_CHANNELS = 24


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: on networks this small a second thread costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def feature_map() -> nn.Module:
    """A network from images (B, 3, 16, 16) to a ReLU feature map (B, 24, 4, 4)."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2, 2), nn.ReLU(), nn.Conv2d(12, NUM_CHANNELS, 5, 2, 2), nn.ReLU()
        )
    for layer in network[::2]:
        nn.init.normal_(layer.bias, std=0.05, generator=torch.Generator().manual_seed(1))
        layer.weight.data *= 3
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def directions(feature_map: nn.Module) -> torch.Tensor:
    """Directions (icon, channel): activations of noise images, so that some image reaches each one."""
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return feature_map(images)[:, :, 2, 2]


@pytest.fixture
def settings() -> InversionSettings:
    return InversionSettings(size_px=16, steps=24, learning_rate=0.05)
