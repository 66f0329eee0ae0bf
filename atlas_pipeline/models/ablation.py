"""Change of the logits when one activation of each image is set to zero. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.layer_override import by_position, joined, logits_with, scaled
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.network import Network


@ieee()
def ablation(
    network: Network,
    images: Tensor,
    layer: str,
    positions: Any,
    output: Tensor | None = None,
    classes: Sequence[int] | None = None,
) -> Tensor:
    """``logits(h) - logits(h with h[:, row, col] = 0)``, measured with a forward pass for each term.

    ``attribution`` estimates this number.

    Args:    as for ``attribution``.
    Returns: (B, ..., class) float32, in logits; above 0 where the activation speaks for the class.
    Raises:  as ``attribution``.
    """
    check_layers(network, [layer])
    form = network.runs[layer].form
    assert form is not None, layer
    logits = logits_with(network, images, layer, output)
    with torch.no_grad():
        kept = logits(torch.clone)
        removed = [
            logits(partial(scaled, form=form, positions=at, share=0.0)) for at in by_position(positions)
        ]
    change = joined([kept - one for one in removed], positions)
    return change if classes is None else change[..., list(classes)]
