"""Feature inversion: images whose activation points along given directions. Requires only torch.

import torch, torchvision
from PIL import Image
from atlas_pipeline.inversion import InversionSettings, invert

network = torchvision.models.googlenet(weights="DEFAULT").eval().requires_grad_(False)
layer = torch.nn.Sequential(*list(network.children())[:9])         # up to inception4a
mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
directions = torch.eye(512)[:8]                                    # one channel per icon
settings = InversionSettings(size_px=80, steps=128)
icons = invert(lambda images: layer((images - mean) / std), directions, seeds=range(8), settings=settings)
Image.fromarray(icons.images[0].numpy()).save("icon.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_pipeline.lazy import lazy_names

if TYPE_CHECKING:
    from atlas_pipeline.inversion.fourier import magnitude_spectrum
    from atlas_pipeline.inversion.icons import Icons, invert
    from atlas_pipeline.inversion.loop import Drawn, optimise, score
    from atlas_pipeline.inversion.objective import centre_activation, centre_position
    from atlas_pipeline.inversion.objectives import (
        Channel,
        DeepDream,
        Direction,
        Logit,
        Neuron,
        Objective,
    )
    from atlas_pipeline.inversion.pattern import Pattern
    from atlas_pipeline.inversion.placement import placed
    from atlas_pipeline.inversion.settings import STYLES, InversionSettings
    from atlas_pipeline.inversion.visible_window import FeatureMap

__all__ = [
    "STYLES",
    "Channel",
    "DeepDream",
    "Direction",
    "Drawn",
    "FeatureMap",
    "Icons",
    "InversionSettings",
    "Logit",
    "Neuron",
    "Objective",
    "Pattern",
    "centre_activation",
    "centre_position",
    "invert",
    "magnitude_spectrum",
    "optimise",
    "placed",
    "score",
]

__getattr__ = lazy_names(
    __name__,
    {
        "STYLES": "settings",
        "Channel": "objectives",
        "DeepDream": "objectives",
        "Direction": "objectives",
        "Drawn": "loop",
        "FeatureMap": "visible_window",
        "Icons": "icons",
        "InversionSettings": "settings",
        "Logit": "objectives",
        "Neuron": "objectives",
        "Objective": "objectives",
        "Pattern": "pattern",
        "centre_activation": "objective",
        "centre_position": "objective",
        "invert": "icons",
        "magnitude_spectrum": "fourier",
        "optimise": "loop",
        "placed": "placement",
        "score": "loop",
    },
)
