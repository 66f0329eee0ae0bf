"""The demo network, whose weights are in the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas_pipeline.models.model_source import ModelSource, Opened
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.spec import ModelSpec, file_digest

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_PATH = Path(__file__).parents[1] / "demo.safetensors"


def demo_labels() -> tuple[str, ...]:
    """The classes of the generated images."""
    from atlas_pipeline.images.generated import CLASS_NAMES

    return tuple(CLASS_NAMES)


def _open(spec: ModelSpec) -> Opened:
    from atlas_pipeline.models import demo_network

    labels = demo_labels()
    if spec.weights_kind == "own":
        module: nn.Module = demo_network.load_demo()
    elif spec.weights_kind == "random":
        module = demo_network.build_demo(len(labels))
    else:
        module = _filled(spec, len(labels))
    return Opened(module, Preprocess().override(demo_network.PREPROCESS), labels)


def _filled(spec: ModelSpec, num_classes: int) -> nn.Module:
    from atlas_pipeline.models.demo_network import build_demo
    from atlas_pipeline.models.weights import load_weights, read_state_dict

    module = build_demo(num_classes)
    state = read_state_dict(spec, module.state_dict())
    found = len(state["head.bias"]) if "head.bias" in state else num_classes
    if found != num_classes:
        module = build_demo(found)
    load_weights(module, state, f"weights '{spec.weights}' for the demo network")
    return module


def _own_weights(spec: ModelSpec) -> dict[str, Any]:
    return {"sha256": file_digest(WEIGHTS_PATH)}


DEMO = ModelSource(
    name="demo",
    open=_open,
    own_weights=_own_weights,
    labels=lambda spec: demo_labels(),
    display_name=lambda name: "demo",
    citation="""@misc{model,
  title = {The demo network of atlas-pipeline},
  note = {%s},
}
""",
)
