"""Small networks, images and positions that many tests share; each network is built once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from small_networks import TINY, Branching, InPlace, small_network
from torch import Tensor

from atlas_pipeline.models.calibrate import calibrate_batch_norms, noise_images, seeded
from atlas_pipeline.models.demo_network import SmallInception
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.open import open_network
from atlas_pipeline.models.spec import ModelSpec


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread: a sum's last bit depends on the thread count, and small networks gain no speed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def googlenet() -> Network:
    spec = ModelSpec(source="torchvision", name="googlenet", weights="random", preprocess={"crop": 64})
    with one_thread():
        return open_network(spec)


@pytest.fixture(scope="session")
def resnet18() -> Network:
    spec = ModelSpec(source="torchvision", name="resnet18", weights="random", preprocess={"crop": 64})
    with one_thread():
        return open_network(spec)


@pytest.fixture(scope="session")
def inception_v1() -> Network:
    with one_thread():
        return open_network(ModelSpec(source="inception_v1", weights="random", preprocess={"crop": 64}))


@pytest.fixture(scope="session")
def timm_resnet() -> Network:
    with one_thread():
        return open_network(ModelSpec(source="timm", name="test_resnet", weights="random"))


@pytest.fixture(scope="session")
def registers() -> Network:
    """A transformer with a class token and three registers in front of its 4 x 4 patches of 8 px."""
    from timm.models.vision_transformer import VisionTransformer

    with seeded(0):
        module = VisionTransformer(
            32, 8, embed_dim=16, depth=3, num_heads=2, num_classes=7, reg_tokens=3, qk_norm=True
        )
        # With timm's initial std of 0.02 the tokens would hardly affect each other.
        for parameter in module.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    with one_thread():
        return small_network(module)


@pytest.fixture(scope="session")
def swin() -> Network:
    """A Swin transformer, channels last inside: 8 x 8 positions with 8 channels, then 4 x 4 with 16."""
    from torchvision.models import SwinTransformer

    with seeded(0):
        module = SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=7)
    with one_thread():
        return small_network(module)


@pytest.fixture(scope="session")
def small_inception() -> Network:
    with seeded(0):
        module = SmallInception(12, width=16, num_blocks=(1, 1, 1))
    network = Network(name="small", module=module, preprocess=TINY, weights_note="")
    with one_thread():
        calibrate_batch_norms(module, lambda: network.logits(noise_images(32, 0)))
    return network


@pytest.fixture
def in_place() -> Network:
    with seeded(1):
        return small_network(InPlace())


@pytest.fixture
def branching() -> Network:
    with seeded(1):
        return small_network(Branching())


@pytest.fixture
def images() -> Tensor:
    """Noise images (2, 3, 64, 64) in [0, 1]."""
    return noise_images(64, seed=7, num_images=2)


@pytest.fixture
def tiny_images() -> Tensor:
    """Noise images (3, 3, 32, 32) in [0, 1]."""
    return noise_images(32, seed=7, num_images=3)
