"""Attribution by one backward pass per class: the reference for the forward-mode product."""

import torch

from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.relaxed_pool import max_pool_gradient


def by_backward(network, images, layer, positions, kind, classes, share=1.0):
    """a . d logit / d h, one class after another, with ``share`` of the activation a at the position."""
    kept, whole = [], []
    batch = torch.arange(len(images))
    at = (batch, slice(None), positions[:, 0], positions[:, 1])
    runs_left = network.runs[layer].times

    def hook(_, __, output):
        nonlocal runs_left
        runs_left -= 1
        if runs_left:
            return None
        whole.append(output.detach().clone())
        changed = whole[0].clone()
        changed[at] = share * changed[at]
        kept.append(changed.requires_grad_())
        return kept[0] * 1

    with hooked(network.module, {layer: hook}), max_pool_gradient(kind):
        logits = network.logits(images)
    (h,) = kept
    columns = []
    for c in classes:
        (gradient,) = torch.autograd.grad(logits[:, c].sum(), h, retain_graph=True)
        columns.append((gradient[at] * whole[0][at]).sum(dim=1))
    return torch.stack(columns, dim=1)


def assert_close(actual, expected):
    """Each image agrees within 1e-4 of its largest attribution; small ones are differences of large terms."""
    assert actual.shape == expected.shape
    largest = expected.abs().amax(dim=1, keepdim=True)
    assert float(largest.min()) > 0
    assert float(((actual - expected).abs() / largest).max()) < 1e-4
