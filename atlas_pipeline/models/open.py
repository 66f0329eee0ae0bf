"""Open a network from its spec, whatever its source."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from atlas_pipeline.models.calibrate import calibrate_batch_norms, noise_images, seeded
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.labels import fit_labels
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.network_name import network_name, weights_note
from atlas_pipeline.models.sources import source_of
from atlas_pipeline.models.spec import ModelSpec


def open_network(spec: ModelSpec, calibration: Callable[[], Tensor] | None = None) -> Network:
    """Open a network on the CPU, frozen, in eval mode.

    A spec gives the same network in every process: random parameters depend on ``spec.seed`` alone, and their
    batch norms are calibrated on a fixed batch.

    Args:   calibration: gives that batch for random networks, (B, 3, crop, crop) float32 in [0, 1]; None:
            smooth noise drawn with the seed.
    Raises: ModelError: a name, file, weights or labels that cannot be used.

    Example:
        >>> from atlas_pipeline.models import ModelSpec, open_network
        >>> network = open_network(ModelSpec(source="demo"))
        >>> network.num_classes, network.class_names[0]
        (30, 'stripes disk on sand')
    """
    source = source_of(spec.source)
    with seeded(spec.seed):
        opened = source.open(spec)
    network = Network(
        name=network_name(spec.source, spec.name),
        module=opened.module,
        preprocess=opened.preprocess.override(spec.preprocess, "model.preprocess"),
        weights_note=weights_note(model_identity(spec)),
        random=spec.weights_kind == "random",
    )
    if network.random:
        images = calibration() if calibration else noise_images(network.preprocess.crop, spec.seed)
        calibrate_batch_norms(network.module, lambda: network.logits(images))
    network.labels = fit_labels(spec, opened.labels, network.num_classes)
    return network
