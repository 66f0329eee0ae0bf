"""Open a network from its spec, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from atlas_pipeline.errors import ModelError, unknown_name
from atlas_pipeline.models.calibrate import calibrate_batch_norms, noise_images, seeded
from atlas_pipeline.models.labels import demo_labels, fit_labels, own_labels
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.spec import SOURCES, ModelSpec, weights_digest, weights_file, weights_set
from atlas_pipeline.models.weights import load_weights, read_state_dict


@dataclass(frozen=True, slots=True)
class _Opened:
    module: nn.Module
    preprocess: Preprocess
    name: str
    own_labels: tuple[str, ...] | None
    own_weights: str


def open_network(spec: ModelSpec, calibration: Callable[[], Tensor] | None = None) -> Network:
    """Open a network: on the CPU, frozen, in eval mode.

    The same spec gives the same network in every process: random parameters are drawn from ``spec.seed``
    alone, and their batch norms calibrated on a fixed batch.

    Args:   calibration: gives that batch for random networks, (B, 3, crop, crop) float32 in [0, 1]; None:
            smooth
            noise drawn from the seed.
    Raises: ModelError: a name, file, weights or labels that do not do.
    """
    openers = {
        "demo": _demo,
        "inception_v1": _inception_v1,
        "torchvision": _torchvision,
        "timm": _timm,
        "python": _python,
    }
    if spec.source not in openers:
        raise ModelError(unknown_name("model source", spec.source, SOURCES, "this program"))
    with seeded(spec.seed):
        opened = openers[spec.source](spec)
    network = Network(
        name=opened.name,
        module=opened.module,
        preprocess=opened.preprocess.override(spec.preprocess, "model.preprocess"),
        weights_note=_weights_note(spec, opened.own_weights),
        random=spec.weights_kind == "random",
    )
    if network.random:
        images = calibration() if calibration else noise_images(network.preprocess.crop, spec.seed)
        calibrate_batch_norms(network.module, lambda: network.logits(images))
    network.labels = fit_labels(spec, opened.own_labels, network.num_classes)
    return network


def _weights_note(spec: ModelSpec, own: str) -> str:
    """Where the weights come from, in words that say loudly where they mean nothing."""
    if spec.weights_kind == "random":
        return f"RANDOM WEIGHTS (seed {spec.seed})"
    if spec.weights_kind == "file":
        key = weights_set(spec)
        taken = f", its '{key}'" if key is not None else ""
        return f"from {weights_file(spec).name} (sha256 {weights_digest(spec)[:12]}){taken}"
    return own


def _demo(spec: ModelSpec) -> _Opened:
    from atlas_pipeline.models import demo

    labels = demo_labels()
    if spec.weights_kind == "own":
        module: nn.Module = demo.load_demo()
    elif spec.weights_kind == "random":
        module = demo.build_demo(len(labels))
    else:
        module = demo.build_demo(len(labels))
        state = read_state_dict(spec, module.state_dict())
        num_classes = len(state.get("head.bias", labels))
        if num_classes != len(labels):
            module = demo.build_demo(num_classes)
        load_weights(module, state, f"weights '{spec.weights}' for the demo network")
    return _Opened(module, Preprocess().override(demo.PREPROCESS), "demo", labels, "trained: the demo's own")


def _torchvision(spec: ModelSpec) -> _Opened:
    from atlas_pipeline.models.torchvision_names import find_weights
    from atlas_pipeline.models.torchvision_source import open_torchvision

    module, preprocess = open_torchvision(spec)
    named = find_weights(spec.name, spec.weights) if spec.weights_kind in ("own", "named") else None
    return _Opened(module, preprocess, str(spec.name), own_labels(spec), f"trained: {named}")


def _timm(spec: ModelSpec) -> _Opened:
    from atlas_pipeline.models.timm_names import full_name
    from atlas_pipeline.models.timm_source import open_timm

    module, preprocess = open_timm(spec)
    named = full_name(spec.name) if spec.weights_kind == "own" else None
    return _Opened(module, preprocess, str(spec.name), own_labels(spec), f"trained: timm's {named}")


def _inception_v1(spec: ModelSpec) -> _Opened:
    from atlas_pipeline.models.inception_v1 import PREPROCESS
    from atlas_pipeline.models.inception_v1_source import open_inception_v1

    module = open_inception_v1(spec)
    name = f"inception_v1 ({spec.name})" if spec.name else "inception_v1"
    return _Opened(module, Preprocess().override(PREPROCESS), name, None, "")


def _python(spec: ModelSpec) -> _Opened:
    from atlas_pipeline.models.python_source import build_module, load_target
    from atlas_pipeline.models.python_target import locate

    model = load_target(spec.name)
    module = build_module(spec, model)
    if spec.weights_kind == "file":
        state = read_state_dict(spec, module.state_dict())
        load_weights(module, state, f"weights '{spec.weights}' for '{spec.name}'")
    target = locate(spec.name)
    # The file's name, not its path: it stands in every output.
    name = f"{target.file.stem}:{target.attribute}"
    return _Opened(module, model.preprocess, name, model.labels, f"as {name} built them")
