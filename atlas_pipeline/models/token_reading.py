"""The order of each layer's tokens, decided jointly for all layers with the same number of tokens.

K = changed images, T = tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from atlas_pipeline.models.map_probe import PLACES
from atlas_pipeline.models.map_signal import Evidence, evidence
from atlas_pipeline.models.token_order import Order, as_map, fits, orders_of, plain_order, silent_tokens

# An order replaces the known one only if it fits this much better: in deep layers, neighbouring tokens
# respond so alike that orders shifted by one position are hard to tell apart.
BETTER_FACTOR = 1.1


@dataclass(frozen=True, slots=True)
class TokenReading:
    """order: of a layer's tokens; None if there is no map. refusal: why there is none."""

    order: Order | None
    refusal: str = ""


def read_tokens(
    group: Mapping[str, Tensor], defaults: Mapping[str, int], size_px: int
) -> dict[str, TokenReading]:
    """Find the order of each layer's tokens.

    Args: group: layer -> (K, T) change for the probe's images, with equal T. defaults: layer -> number of
          leading tokens that its shape leaves out. size_px: side of the images.
    """
    num_tokens = next(iter(group.values())).shape[1]
    silent = next((found for change in group.values() if (found := silent_tokens(change[-1]))), ())
    orders = orders_of(num_tokens, silent)
    if not orders:
        return {}
    layers = {name: _Layer(change, orders, size_px) for name, change in group.items()}
    left_out = next((defaults[name] for name in group if name in defaults), None)
    default = None if left_out is None else plain_order(num_tokens, left_out)
    # The clearest layer decides on the network's order.
    shown = [layer for layer in layers.values() if layer.best_evidence.is_clear]
    clearest = max(shown, key=lambda layer: layer.best_evidence.strength, default=None)
    order = default if clearest is None else clearest.choice(default)
    readings: dict[str, TokenReading] = {}
    for name, layer in layers.items():
        # Each layer may then overrule it by its own evidence; otherwise the previous layer's order stands.
        order = layer.choice(order)
        finding = layer.evidence(order) if order is not None else Evidence("untold")
        if finding.verdict == "shown" or (finding.verdict == "untold" and (shown or name in defaults)):
            readings[name] = TokenReading(order)
        elif finding.verdict == "contradicted":
            refusal = f"its tokens follow no order that could be told: a changed patch {finding}"
            readings[name] = TokenReading(None, refusal)
        else:
            readings[name] = TokenReading(None, "nothing shows that its tokens are places in the image")
    return readings


class _Layer:
    """One layer's responses, compared with all orders."""

    def __init__(self, change: Tensor, orders: tuple[Order, ...], size_px: int) -> None:
        self.change = change[: len(PLACES)]
        self.fits = dict(zip(orders, fits(self.change, orders, size_px), strict=True))
        self.best = max(self.fits, key=lambda order: self.fits[order])
        self.best_evidence = self.evidence(self.best)

    def evidence(self, order: Order) -> Evidence:
        return evidence(as_map(self.change, order))

    def choice(self, known: Order | None) -> Order | None:
        """The best-fitting order if it is shown and clearly better than ``known``; otherwise ``known``."""
        if not self.best_evidence.is_clear:
            return known
        is_better = known is None or self.fits[self.best] > BETTER_FACTOR * self.fits.get(known, 0.0)
        return self.best if is_better else known
