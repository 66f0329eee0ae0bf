"""Networks: open one, list its layers, read feature maps, attribute them to logits, cut it at a layer.

Names are loaded on first use: ``models.spec`` and ``models.sources`` must stay importable without torch. A
function that shares its module's name is imported from that module: ``attribution.attribution``,
``capture.capture``, ``cut.cut``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_pipeline.lazy import lazy_names

if TYPE_CHECKING:
    from atlas_pipeline.models.capture import feature_maps
    from atlas_pipeline.models.identity import model_identity
    from atlas_pipeline.models.labels import class_index, class_labels
    from atlas_pipeline.models.layers import LayerInfo, check_layers, list_layers
    from atlas_pipeline.models.network import Network
    from atlas_pipeline.models.open import open_network
    from atlas_pipeline.models.preprocess import Preprocess
    from atlas_pipeline.models.spec import ModelSpec

__all__ = [
    "LayerInfo",
    "ModelSpec",
    "Network",
    "Preprocess",
    "check_layers",
    "class_index",
    "class_labels",
    "feature_maps",
    "list_layers",
    "model_identity",
    "open_network",
]

__getattr__ = lazy_names(
    __name__,
    {
        "LayerInfo": "layers",
        "ModelSpec": "spec",
        "Network": "network",
        "Preprocess": "preprocess",
        "check_layers": "layers",
        "class_index": "labels",
        "class_labels": "labels",
        "feature_maps": "capture",
        "list_layers": "layers",
        "model_identity": "identity",
        "open_network": "open",
    },
)
