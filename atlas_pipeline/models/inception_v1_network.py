"""InceptionV1, the network of the activation atlas paper, with the layer names of its TensorFlow graph.

B = batch, H, W = image pixels. This is GoogLeNet (Szegedy et al., "Going Deeper with Convolutions", 2014) as
Google trained it: no batch norm, two local response norms, 1008 logits, padding "SAME", pixels in [-117,
138]. A layer has the graph's name with dots for underscores: ``mixed4c.3x3.pre_relu`` is
``mixed4c_3x3_pre_relu``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_CLASSES = 1008
#: RGB in [0, 1] becomes 255 x - 117, as `Preprocess` fields.
PREPROCESS: dict[str, Any] = {"mean": (117 / 255,) * 3, "std": (1 / 255,) * 3}
# Channels of the convolutions 1x1, 3x3_bottleneck, 3x3, 5x5_bottleneck, 5x5 and pool_reduce.
MIXED = {
    "mixed3a": (64, 96, 128, 16, 32, 32),
    "mixed3b": (128, 128, 192, 32, 96, 64),
    "mixed4a": (192, 96, 204, 16, 48, 64),
    "mixed4b": (160, 112, 224, 24, 64, 64),
    "mixed4c": (128, 128, 256, 24, 64, 64),
    "mixed4d": (112, 144, 288, 32, 64, 64),
    "mixed4e": (256, 160, 320, 32, 128, 128),
    "mixed5a": (256, 160, 320, 48, 128, 128),
    "mixed5b": (384, 192, 384, 48, 128, 128),
}
POOL_BEFORE = {"mixed3a": "maxpool1", "mixed4a": "maxpool4", "mixed5a": "maxpool10"}


@dataclass(frozen=True, slots=True)
class ResponseNorm:
    """Parameters of a local response norm in TensorFlow's convention: a sum over 2 radius + 1 channels."""

    radius: int
    bias: float
    alpha: float


ORIGINAL_NORM = ResponseNorm(radius=5, bias=2.0, alpha=1e-4)
# Lucent's port computes this: its conversion lost the bias and uses another convention for radius and alpha.
LUCENT_NORM = ResponseNorm(radius=4, bias=1.0, alpha=1e-4 / 9)


class LocalResponseNorm(nn.Module):
    """``x / sqrt(bias + alpha * sum of squares over nearby channels)``.

    The sum is a 1 x 1 convolution with a band of ones: the 3-D pooling in nn.LocalResponseNorm would take a
    third of the network's time.
    """

    band: Tensor

    def __init__(self, num_channels: int, norm: ResponseNorm) -> None:
        super().__init__()
        self.bias = norm.bias
        channel = torch.arange(num_channels)
        is_near = (channel[:, None] - channel[None, :]).abs() <= norm.radius
        # Not persistent, since weights files have no such key.
        self.register_buffer("band", (norm.alpha * is_near)[:, :, None, None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return features * (self.bias + F.conv2d(features**2, self.band)).rsqrt()


class ConvRelu(nn.Module):
    """A convolution with padding "SAME", then ReLU; ``pre_relu`` is the convolution's output."""

    def __init__(self, num_in: int, num_out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        # With stride 1 both sides are padded equally, and the convolution can do it.
        self.pre_relu = nn.Conv2d(num_in, num_out, size, stride, padding=size // 2 if stride == 1 else 0)

    def forward(self, features: Tensor) -> Tensor:
        if self.stride > 1:
            features = F.pad(features, (*self._padding(features.shape[3]), *self._padding(features.shape[2])))
        # Not in place: a hook on pre_relu must keep the values that it saw.
        return F.relu(self.pre_relu(features))

    def _padding(self, side: int) -> tuple[int, int]:
        """TensorFlow's "SAME" padding: ceil(side / stride) positions; an odd pixel is added at the end."""
        # No branch on the size, so that torch.fx can trace it.
        total = self.size - self.stride + (-side) % self.stride
        return total // 2, total - total // 2


class HalvingPool(nn.Module):
    """Max-pool 3 x 3, stride 2, padding "SAME" (padding never wins): n positions become ceil(n / 2)."""

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[2], features.shape[3]
        # Odd sides are padded at both ends; for even sides the last window reaches beyond the end.
        return F.max_pool2d(features, 3, stride=2, padding=(height % 2, width % 2), ceil_mode=True)


class Mixed(nn.ModuleDict):
    """Four parallel branches, concatenated by channel after their ReLUs; the map keeps its size."""

    def __init__(self, num_in: int, widths: tuple[int, int, int, int, int, int]) -> None:
        one, three_reduced, three, five_reduced, five, pool = widths
        super().__init__(
            {
                "1x1": ConvRelu(num_in, one, 1),
                "3x3_bottleneck": ConvRelu(num_in, three_reduced, 1),
                "3x3": ConvRelu(three_reduced, three, 3),
                "5x5_bottleneck": ConvRelu(num_in, five_reduced, 1),
                "5x5": ConvRelu(five_reduced, five, 5),
                "pool": nn.MaxPool2d(3, stride=1, padding=1),
                "pool_reduce": ConvRelu(num_in, pool, 1),
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        branches = [
            self["1x1"](features),
            self["3x3"](self["3x3_bottleneck"](features)),
            self["5x5"](self["5x5_bottleneck"](features)),
            self["pool_reduce"](self["pool"](features)),
        ]
        return torch.cat(branches, dim=1)


class InceptionV1(nn.Sequential):
    """Images (B, 3, H, W), RGB in [-117, 138] -> logits (B, class).

    Args: num_classes: number of logits. norm: parameters of both local response norms.
    """

    def __init__(self, num_classes: int = NUM_CLASSES, norm: ResponseNorm = ORIGINAL_NORM) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["conv2d0"] = ConvRelu(3, 64, 7, stride=2)
        parts["maxpool0"] = HalvingPool()
        parts["localresponsenorm0"] = LocalResponseNorm(64, norm)
        parts["conv2d1"] = ConvRelu(64, 64, 1)
        parts["conv2d2"] = ConvRelu(64, 192, 3)
        parts["localresponsenorm1"] = LocalResponseNorm(192, norm)
        channels = 192
        for name, widths in MIXED.items():
            if name in POOL_BEFORE:
                parts[POOL_BEFORE[name]] = HalvingPool()
            parts[name] = Mixed(channels, widths)
            one, _, three, _, five, pool = widths
            channels = one + three + five + pool
        # The graph averages 7 x 7 positions, which is the whole map for a 224 px image.
        parts["avgpool0"] = nn.AdaptiveAvgPool2d(1)
        parts["flatten"] = nn.Flatten()
        parts["softmax2_pre_activation"] = nn.Linear(channels, num_classes)
        super().__init__(parts)


def draw_parameters(network: InceptionV1) -> None:
    """Draw fresh parameters, in place, that preserve the mean square of the activations across layers.

    He et al. ("Delving Deep into Rectifiers", 2015): normal with variance 2 / fan-in, biases 0. There are no
    batch norms to calibrate. The first convolution also scales pixels of about 70 down to 1.
    """
    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d):
            gain = 1 / 70 if name.startswith("conv2d0") else 1.0
            fan_in = part.in_channels * math.prod(part.kernel_size)
            nn.init.normal_(part.weight, std=gain * math.sqrt(2 / fan_in))
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]
