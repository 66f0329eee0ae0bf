"""InceptionV1 with random weights, or with weights from the files of Lucid's PyTorch ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from atlas_pipeline.errors import ModelError, WeightsError, unknown_name
from atlas_pipeline.models.model_source import ModelSource, Opened
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from atlas_pipeline.models.inception_v1_network import InceptionV1

# The graph that Google trained, and the computation of lucent's port.
VARIANTS = ("original", "lucent")
HEAD = "softmax2_pre_activation"
# Captum's names for layers that have other names in the graph and here.
CAPTUM_STEM = {"conv2d0": "conv1", "conv2d1": "conv2", "conv2d2": "conv3"}
CAPTUM_BRANCH = {
    "1x1": "conv_1x1",
    "3x3_bottleneck": "conv_3x3_reduce",
    "3x3": "conv_3x3",
    "5x5_bottleneck": "conv_5x5_reduce",
    "5x5": "conv_5x5",
    "pool_reduce": "pool_proj",
}
# Two auxiliary heads that were trained with the network and do not affect its logits.
AUXILIARY = re.compile(r"aux[12]\.|(head|nn|softmax)[01]_")


def variant_of(spec: ModelSpec) -> str:
    """The variant, one of VARIANTS, that a spec asks for.

    Raises: ModelError: an unknown variant.
    """
    variant = spec.name or VARIANTS[0]
    if variant not in VARIANTS:
        raise ModelError(unknown_name("model", variant, VARIANTS, "inception_v1"))
    return variant


def _own_weights(spec: ModelSpec) -> dict[str, Any]:
    variant_of(spec)  # report an unknown name first
    file = "the file inception5h.pth of lucent or of Captum's optim branch"
    raise WeightsError("inception_v1 comes without weights", file)


def _display_name(name: str | None) -> str:
    return f"inception_v1 ({name})" if name not in (None, VARIANTS[0]) else "inception_v1"


def _open(spec: ModelSpec) -> Opened:
    from atlas_pipeline.models.inception_v1_network import PREPROCESS

    return Opened(_network(spec), Preprocess().override(PREPROCESS))


def _network(spec: ModelSpec) -> InceptionV1:
    """The network with its weights, and as many logits as the file has (1008 unless it was fine-tuned).

    Raises: ModelError: an unknown name, no weights given, or a file that does not fit.
    """
    from atlas_pipeline.models.inception_v1_network import (
        LUCENT_NORM,
        NUM_CLASSES,
        ORIGINAL_NORM,
        InceptionV1,
        draw_parameters,
    )
    from atlas_pipeline.models.weights import load_weights, read_state_dict

    norm = LUCENT_NORM if variant_of(spec) == "lucent" else ORIGINAL_NORM
    if spec.weights_kind == "own":
        _own_weights(spec)
    if spec.weights_kind == "random":
        network = InceptionV1(norm=norm)
        draw_parameters(network)
        return network
    state = graph_names(read_state_dict(spec, _expected_state()))
    network = InceptionV1(len(state.get(f"{HEAD}.bias", range(NUM_CLASSES))), norm)
    load_weights(network, state, f"weights '{spec.weights}' for inception_v1")
    return network


def graph_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of a state dict from lucent or Captum's optim branch to ours; other keys stay."""
    renamed = _renamed(_own_state())
    return {renamed.get(key, key): tensor for key, tensor in state.items() if not AUXILIARY.match(key)}


def _expected_state() -> dict[str, Tensor]:
    """The expected weights, under our names, lucent's and Captum's."""
    own = _own_state()
    return own | {port: own[name] for port, name in _renamed(own).items()}


def _renamed(own: Mapping[str, Tensor]) -> dict[str, str]:
    renamed = {}
    for name in own:
        part, _, parameter = name.rpartition(".")
        renamed[f"{_lucent_name(part)}.{parameter}"] = name
        renamed[f"{_captum_name(part)}.{parameter}"] = name
    return renamed


def _own_state() -> dict[str, Tensor]:
    import torch

    from atlas_pipeline.models.inception_v1_network import InceptionV1

    # "meta" gives names and shapes only, without memory or time.
    with torch.device("meta"):
        return InceptionV1().state_dict()


def _lucent_name(part: str) -> str:
    """``mixed4c.3x3.pre_relu`` -> ``mixed4c_3x3_pre_relu_conv``."""
    return f"{HEAD}_matmul" if part == HEAD else part.replace(".", "_") + "_conv"


def _captum_name(part: str) -> str:
    """``mixed4c.3x3.pre_relu`` -> ``mixed4c.conv_3x3``."""
    if part == HEAD:
        return "fc"
    block, _, branch = part.removesuffix(".pre_relu").partition(".")
    return f"{block}.{CAPTUM_BRANCH[branch]}" if branch else CAPTUM_STEM[block]


INCEPTION_V1 = ModelSource(
    name="inception_v1",
    open=_open,
    own_weights=_own_weights,
    identity=lambda spec: {"variant": variant_of(spec)},
    allows_missing_labels=True,
    display_name=_display_name,
    citation="""@inproceedings{model,
  title = {Going Deeper with Convolutions},
  author = {Szegedy, Christian and Liu, Wei and Jia, Yangqing and Sermanet, Pierre and Reed, Scott and
            Anguelov, Dragomir and Erhan, Dumitru and Vanhoucke, Vincent and Rabinovich, Andrew},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2015},
  note = {%s},
}
""",
)
