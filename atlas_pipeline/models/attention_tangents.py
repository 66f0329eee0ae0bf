"""Tangents of scaled dot-product attention. B = batch, H = heads, T = tokens, E = channels of a head.

The attention weights are computed once; each tangent then takes two products with them and two with the keys
and queries. Importing this module registers the rules in ``tangent_rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas_pipeline.models.tangent_rules import EACH, Operation, Push

aten = torch.ops.aten

AttentionPush = Callable[[Tensor | None, Tensor | None, Tensor | None], Tensor]


def _attention(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> AttentionPush:
    """Linearise ``softmax(scale query key^T) value``.

    Args: query, key, value: (B, H, T, E).
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scaled_query, scaled_key = query * scale, (key * scale).transpose(-2, -1)
    weights = torch.softmax(query @ scaled_key, dim=-1)

    def push(query_t: Tensor | None, key_t: Tensor | None, value_t: Tensor | None) -> Tensor:
        parts = []
        if query_t is not None or key_t is not None:
            scores = []
            if query_t is not None:
                scores.append(query_t @ scaled_key)
            if key_t is not None:
                scores.append(scaled_query @ key_t.transpose(-2, -1))
            # The softmax has a symmetric Jacobian.
            change = aten._softmax_backward_data(sum(scores[1:], scores[0]), weights, -1, weights.dtype)
            parts.append(change @ value)
        if value_t is not None:
            parts.append(weights @ value_t)
        return sum(parts[1:], parts[0])

    return push


def _dot_product(op: Operation) -> Push | None:
    """Attention without a mask and without dropout."""

    def settings(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> AttentionPush | None:
        if attn_mask is not None or dropout_p or is_causal or enable_gqa:
            return None
        return _attention(query, key, value, scale)

    push = settings(*op.args, **op.kwargs)
    return None if push is None else lambda *tangents, **kw: push(*_three(tangents, kw))


def _three(tangents: tuple[Any, ...], kw: dict[str, Any]) -> list[Tensor | None]:
    """The tangents of query, key and value, which may be given by name."""
    return [
        tangents[i] if i < len(tangents) else kw.get(name) for i, name in enumerate(("query", "key", "value"))
    ]


def _multihead(op: Operation) -> Push | None:
    """``nn.MultiheadAttention`` without masks, extra keys or weights that anyone reads."""
    module: nn.MultiheadAttention = op.function
    plain = {"need_weights", "average_attn_weights", "query", "key", "value"}
    if (
        module.training
        or len(op.args) > 3
        or any(value is not None for name, value in op.kwargs.items() if name not in plain)
        or op.kwargs.get("need_weights", True)
        or not module._qkv_same_embed_dim
        or module.bias_k is not None
        or module.add_zero_attn
    ):
        return None
    values = _three(op.args, op.kwargs)
    if any(value is None or value.dim() != 3 for value in values):
        return None
    weights = module.in_proj_weight.chunk(3)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    size = module.head_dim

    def heads(tokens: Tensor) -> Tensor:
        """(B, T, H E) -> (B, H, T, E), from (T, B, H E) where the sequence comes first."""
        tokens = tokens.unflatten(-1, (-1, size))
        return tokens.transpose(1, 2) if module.batch_first else tokens.permute(1, 2, 0, 3)

    push = _attention(
        *(heads(F.linear(v, w, b)) for v, w, b in zip(values, weights, biases, strict=True))  # type: ignore[arg-type]
    )

    def tangent(*tangents: Any, **kw: Any) -> tuple[Tensor, None]:
        parts = _three(tangents, kw)
        if parts[0] is not None and parts[0] is parts[1] and parts[1] is parts[2]:
            projected: list[Tensor | None] = [*F.linear(parts[0], module.in_proj_weight).chunk(3, dim=-1)]
        else:
            projected = [None if t is None else F.linear(t, w) for t, w in zip(parts, weights, strict=True)]
        mixed = push(*(None if t is None else heads(t) for t in projected))
        mixed = mixed.transpose(1, 2) if module.batch_first else mixed.permute(2, 0, 1, 3)
        return F.linear(mixed.flatten(-2), module.out_proj.weight), None

    return tangent


EACH[F.scaled_dot_product_attention] = _dot_product
EACH[nn.MultiheadAttention] = _multihead
