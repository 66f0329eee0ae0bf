"""Derivatives of the logits with respect to a layer's output, in both modes. B = batch, K = classes.

A forward product gives every logit's derivative along one direction. A backward pass gives one logit's
derivative with respect to every value of the layer.
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

# A batched backward pass holds the gradients of this many classes at once.
CLASSES_AT_ONCE = 8

Logits = Callable[[Replace], Tensor]
"""The logits (B, K) as a function of a layer's replaced output; see ``layer_override.logits_with``."""


def forward_product(
    logits: Logits, at: Replace, direction: Replace, maxpool_gradient: MaxPoolGradient
) -> Tensor | None:
    """The derivative (B, K) of the logits along a direction.

    Args:    at, direction: functions from the layer's output to a point and a direction, both in new memory.
    Returns: None if no derivative arrives at the logits.
    Raises:  NotImplementedError, RuntimeError: an operation without a forward-mode derivative.
    """
    with ExitStack() as stack:
        # Leave inference mode first, since it silently drops tangents.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(plain_attention())
        stack.enter_context(forward_ad.dual_level())

        def start(output: Tensor) -> Tensor:
            # Pools before the layer carry no tangent, so relaxing them would be wasted work.
            stack.enter_context(max_pool_gradient(maxpool_gradient))
            return forward_ad.make_dual(at(output), direction(output))

        return forward_ad.unpack_dual(logits(start)).tangent


class BackwardPass:
    """One forward pass whose logits can be differentiated by the layer's output repeatedly."""

    def __init__(self, logits: Logits, at: Replace, maxpool_gradient: MaxPoolGradient) -> None:
        """Run the forward pass.

        Args: as for ``forward_product``.
        """
        self._points: list[Tensor] = []
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(plain_attention())

            def start(output: Tensor) -> Tensor:
                stack.enter_context(max_pool_gradient(maxpool_gradient))
                # The network may have turned gradients off before the layer, which does not matter here.
                self._points.append(at(output.detach()).requires_grad_())
                # Later layers may work in place, which a leaf does not allow.
                return self._points[0].clone()

            self.logits = logits(start)

    @property
    def point(self) -> Tensor:
        """The layer's output at which derivatives are taken."""
        return self._points[0].detach()

    def gradient(self, weights: Tensor) -> Tensor:
        """Gradient of ``(weights * logits).sum()`` with respect to the layer's output; zero if none arrives.

        Args: weights: (B, K).
        """
        (point,) = self._points
        point.grad = None
        if self.logits.requires_grad:
            # Not autograd.grad, which code with its own inner backward passes does not allow.
            self.logits.backward(weights, retain_graph=True)
        return torch.zeros_like(point) if point.grad is None else point.grad

    def reaches_logits(self) -> bool:
        """Whether any derivative of any logit with respect to the layer's output is nonzero."""
        weights = torch.randn(self.logits.shape, generator=torch.Generator().manual_seed(0))
        return bool((self.gradient(weights.to(self.logits)) != 0).any())

    def gradients(self, classes: Sequence[int], *, batched: bool) -> Iterator[Tensor]:
        """Gradients of the classes' logits with respect to the layer's output.

        Args:   batched: whether to compute several at once.
        Raises: RuntimeError: ``batched``, and some operation does not support it.
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
            # Ignore the warning about operations that are looped over: they are slow but correct.
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
def plain_attention() -> Iterator[None]:
    """Use attention made of operations with forward-mode derivatives; fused attention has none."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
