"""The demo network: a small inception-style classifier with stages mixed3, mixed4 and mixed5.

B = batch, H, W = image pixels, C = classes. The network downsamples by max-pools, since the gradient of a
strided convolution skips pixels, which shows as speckle in the icons of feature inversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.sources.demo import WEIGHTS_PATH

#: The demo network's preprocessing, as `Preprocess` fields.
PREPROCESS: dict[str, Any] = {"resize": 64, "crop": 64, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def _conv(num_in: int, num_out: int, size: int) -> nn.Sequential:
    # Not in place: a hook on the batch norm must keep the values that it saw.
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, size, padding=size // 2, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()
    )


class Mixed(nn.Module):
    """Four parallel branches (1x1, 3x3, two 3x3, pool), concatenated by channel; the map keeps its size.

    Args: num_in, num_out: channels; `num_out` is a multiple of 8.
    """

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        quarter, eighth = num_out // 4, num_out // 8
        self.branch1x1 = _conv(num_in, quarter, 1)
        self.branch3x3 = nn.Sequential(_conv(num_in, quarter, 1), _conv(quarter, quarter + eighth, 3))
        self.branch5x5 = nn.Sequential(
            _conv(num_in, eighth, 1), _conv(eighth, quarter, 3), _conv(quarter, quarter, 3)
        )
        # Project first: pooling an eighth of the channels takes an eighth of the time.
        self.branch_pool = nn.Sequential(
            _conv(num_in, eighth, 1), nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        branches = (self.branch1x1, self.branch3x3, self.branch5x5, self.branch_pool)
        return torch.cat([branch(features) for branch in branches], dim=1)


class SmallInception(nn.Module):
    """Inception-style classifier for images of 32-64 px.

    The stem has `width` output channels; mixed3, mixed4 and mixed5 have 2, 4 and 6 times as many. With two
    stem pools, an image of 64 px gives maps of 16, 8 and 8 positions a side (the last one 4 with
    `pool_before_mixed5`). With one stem pool, 32 px give the same.

    Args:
        num_classes: number of logits.
        width: channels of the stem, a multiple of 4.
        num_blocks: number of `Mixed` blocks in mixed3, mixed4 and mixed5.
        num_stem_pools: how often the stem halves the image.
        pool_before_mixed5: whether to halve the map between mixed4 and mixed5 too.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 32,
        num_blocks: Sequence[int] = (1, 1, 1),
        num_stem_pools: int = 2,
        pool_before_mixed5: bool = False,
    ) -> None:
        super().__init__()
        self.stem = _stem(width, num_stem_pools)
        self.mixed3 = _stage(width, 2 * width, num_blocks[0])
        self.pool3 = nn.MaxPool2d(2)
        self.mixed4 = _stage(2 * width, 4 * width, num_blocks[1])
        self.pool4 = nn.MaxPool2d(2) if pool_before_mixed5 else nn.Identity()
        self.mixed5 = _stage(4 * width, 6 * width, num_blocks[2])
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of normalised images (B, 3, H, W)."""
        features = self.pool3(self.mixed3(self.stem(images)))
        features = self.mixed5(self.pool4(self.mixed4(features)))
        return self.head(self.global_pool(features).flatten(1))


def _stem(width: int, num_pools: int) -> nn.Sequential:
    channels = [3, width // 2, *[width] * num_pools]
    layers: list[nn.Module] = []
    for num_in, num_out in pairwise(channels[:-1]):
        layers += [_conv(num_in, num_out, 3), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, _conv(channels[-2], channels[-1], 3))


def _stage(num_in: int, num_out: int, num_blocks: int) -> nn.Sequential:
    return nn.Sequential(*[Mixed(num_in if block == 0 else num_out, num_out) for block in range(num_blocks)])


def load_demo(path: Path | str | None = None) -> SmallInception:
    """The trained demo network, in eval mode, with float32 weights.

    Args:   path: a weights file written by `scripts/training/demo.py`; None: the file in the package.
    Raises: ModelError: no such file.
    """
    from safetensors.torch import load_file

    weights = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(_existing(path)).items()
    }
    network = build_demo(num_classes=weights["head.bias"].shape[0])
    network.load_state_dict(weights)
    return network.eval()


def build_demo(num_classes: int) -> SmallInception:
    """The demo network with fresh weights: images of 64 px; mixed3 16 x 16, mixed4 and mixed5 8 x 8."""
    return SmallInception(num_classes, width=32, num_blocks=(1, 1, 1), num_stem_pools=2)


def _existing(path: Path | str | None) -> Path:
    weights_path = WEIGHTS_PATH if path is None else Path(path)
    if not weights_path.is_file():
        raise ModelError(
            f"no weights of the demo network at {weights_path}; make them: python -m scripts.training.demo"
        )
    return weights_path
