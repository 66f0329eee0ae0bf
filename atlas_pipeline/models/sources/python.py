"""A user's own network: ``my_package.my_file:build`` or ``path/to/file.py:build``."""

from __future__ import annotations

from typing import Any

from atlas_pipeline.models.model_source import Labels, ModelSource, Opened
from atlas_pipeline.models.spec import ModelSpec, file_digest
from atlas_pipeline.models.user_target import locate

# Common names of functions that build a network, which say nothing about it.
_NAMELESS = ("build", "build_model", "create", "create_model", "get_model", "make", "model", "net", "network")


def _open(spec: ModelSpec) -> Opened:
    from atlas_pipeline.models.user_network import build_module, load_target
    from atlas_pipeline.models.weights import load_weights, read_state_dict

    model = load_target(spec.name)
    module = build_module(spec, model)
    if spec.weights_kind == "file":
        state = read_state_dict(spec, module.state_dict())
        load_weights(module, state, f"weights '{spec.weights}' for '{spec.name}'")
    return Opened(module, model.preprocess, model.labels)


def _own_weights(spec: ModelSpec) -> dict[str, Any]:
    # The user's code may draw parameters; it is called under the seed.
    return {"built_with_seed": spec.seed}


def _identity(spec: ModelSpec) -> dict[str, Any]:
    target = locate(spec.name)
    return {"attribute": target.attribute, "code_sha256": file_digest(target.file)}


def _labels(spec: ModelSpec) -> Labels:
    from atlas_pipeline.models.user_network import load_target

    return load_target(spec.name).labels


def _display_name(name: str | None) -> str:
    """``networks/resnet.py:build`` is ``resnet``, ``networks/resnet.py:resnet50`` is ``resnet50``."""
    place, _, attribute = (name or "python").rpartition(":")
    if attribute not in _NAMELESS or not place:
        return attribute
    # The file's name without its path, since it appears in every output.
    return place.replace("\\", "/").split("/")[-1].removesuffix(".py").split(".")[-1]


PYTHON = ModelSource(
    name="python",
    open=_open,
    own_weights=_own_weights,
    identity=_identity,
    labels=_labels,
    example="my_package.my_file:build",
    has_user_labels=True,
    display_name=_display_name,
)
