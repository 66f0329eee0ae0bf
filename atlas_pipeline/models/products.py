"""Derivatives of the logits by a layer's output, in both modes. B = batch, K = classes.

A forward product gives every logit's derivative along one direction; a backward pass gives one logit's
derivative by every value of the layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from atlas_pipeline.models.layer_override import Replace
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient, max_pool_gradient

# A batched backward pass holds the gradients of so many classes at once.
CLASSES_AT_ONCE = 8

Logits = Callable[[Replace], Tensor]
"""The logits (B, K) for what a layer's output is replaced by: see ``replaced.logits_with``."""


def forward_product(
    logits: Logits, at: Replace, direction: Replace, maxpool_gradient: MaxPoolGradient
) -> Tensor | None:
    """The derivative (B, K) of the logits along a direction.

    Args:    at, direction: what the layer's output becomes a point and a direction of, both in new memory.
    Returns: None where no derivative arrives at the logits.
    Raises:  NotImplementedError, RuntimeError: an operation without forward-mode derivative.
    """
    with ExitStack() as stack:
        # Inference mode drops tangents without a word: it is left first.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_plain_attention())
        stack.enter_context(forward_ad.dual_level())

        def start(output: Tensor) -> Tensor:
            # Pools before the layer carry no tangent: their relaxation would be work for nothing.
            stack.enter_context(max_pool_gradient(maxpool_gradient))
            return forward_ad.make_dual(at(output), direction(output))

        return forward_ad.unpack_dual(logits(start)).tangent


class BackwardPass:
    """One forward whose logits can be differentiated by the layer's output as often as asked."""

    def __init__(self, logits: Logits, at: Replace, maxpool_gradient: MaxPoolGradient) -> None:
        """Args: as of ``forward_product``."""
        self._points: list[Tensor] = []
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(_plain_attention())

            def start(output: Tensor) -> Tensor:
                stack.enter_context(max_pool_gradient(maxpool_gradient))
                # The network may have turned gradients off before the layer, which is not our concern yet.
                self._points.append(at(output.detach()).requires_grad_())
                # What follows may work in place, which a leaf does not allow.
                return self._points[0].clone()

            self.logits = logits(start)

    @property
    def point(self) -> Tensor:
        """The layer's output at which derivatives are taken."""
        return self._points[0].detach()

    def gradient(self, weights: Tensor) -> Tensor:
        """The gradient of ``(weights * logits).sum()``, shaped as the layer's output; zero if none arrives.

        Args: weights: (B, K).
        """
        (point,) = self._points
        point.grad = None
        if self.logits.requires_grad:
            # Not autograd.grad: code that runs its own backward passes inside does not allow it.
            self.logits.backward(weights, retain_graph=True)
        return torch.zeros_like(point) if point.grad is None else point.grad

    def reaches_logits(self) -> bool:
        """Whether any derivative of any logit by the layer's output is not zero."""
        weights = torch.randn(self.logits.shape, generator=torch.Generator().manual_seed(0))
        return bool((self.gradient(weights.to(self.logits)) != 0).any())

    def gradients(self, classes: Sequence[int], *, batched: bool) -> Iterator[Tensor]:
        """The gradient of each class's logit, shaped as the layer's output; some at once where ``batched``.

        Raises: RuntimeError: batched, and some operation does not allow it.
        """
        for some in torch.tensor(classes, device=self.logits.device).split(CLASSES_AT_ONCE):
            weights = torch.zeros(len(some), *self.logits.shape, device=self.logits.device)
            weights[torch.arange(len(some)), :, some] = 1
            if batched and self.logits.requires_grad:
                yield from self._at_once(weights)
            else:
                yield from map(self.gradient, weights)

    def _at_once(self, weights: Tensor) -> Tensor:
        with warnings.catch_warnings():
            # Operations that are looped over are slow, and right.
            warnings.simplefilter("ignore")
            (found,) = torch.autograd.grad(
                self.logits,
                self._points,
                weights,
                retain_graph=True,
                is_grads_batched=True,
                materialize_grads=True,
            )
        return found


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention made of operations that have forward-mode derivatives; the fused ones have none."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
