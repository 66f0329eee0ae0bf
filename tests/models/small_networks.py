"""Small networks with properties that are hard to handle, and helpers that count what tests check."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from atlas_pipeline.models.network import Network
from atlas_pipeline.models.preprocess import Preprocess

TINY = Preprocess(resize=32, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class InPlace(nn.Module):
    """Every module's output is altered in place by the next operation; `act` runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, stride=2)
        self.skip = nn.Conv2d(6, 6, 1, stride=2)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        first = self.act(self.norm1(self.conv1(images)))
        second = self.conv2(first)
        second += self.skip(first)
        return self.head(self.act(second).mean(dim=(2, 3)))


class Branching(nn.Module):
    """The forward pass branches on values, so torch.fx cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.conv(images))
        if features.sum() > 1e9:
            features = features * 2
        return self.head(features.relu().mean(dim=(2, 3)))


class Stages(nn.Module):
    """Convolutions to an 8 x 8 map before `layer`, and one after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.after, self.norm, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def body(self, x: Tensor) -> Tensor:
        return self.layer(self.stem(x).relu())

    def tail(self, x: Tensor) -> Tensor:
        return self.norm(self.after(x.relu())).relu().mean(dim=(2, 3), keepdim=True)


class Aside(nn.Module):
    """Passes a value along beside its output."""

    def __init__(self, kept: dict[str, Tensor]) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        self.kept["x"] = x.mean(dim=(1, 2, 3), keepdim=True)
        return x if float(x.sum()) < 1e9 else x * 2


class Around(Stages):
    """The code cannot be traced, and one module hands a value to the end of the network by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}
        self.aside = Aside(self.kept)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tail(self.body(self.aside(x)))
        return self.head((x + self.kept["x"]).flatten(1))


class Convolutions(TorchDispatchMode):
    """Counts convolutions."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.convolution.default
        return func(*args, **(kwargs or {}))


def small_network(module: nn.Module) -> Network:
    return Network(name=type(module).__name__, module=module, preprocess=TINY, weights_note="")


def num_hooks(module: nn.Module) -> int:
    """Count the forward, pre-forward and backward hooks on all submodules."""
    return sum(
        len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks)
        for part in module.modules()
    )
