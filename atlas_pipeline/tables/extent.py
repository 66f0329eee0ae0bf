"""How large the sample is that a step works on: what its disk and memory follow from."""

from __future__ import annotations

from dataclasses import dataclass

from atlas_pipeline.engine.declaration import MemoryNeed

FEWER_NUMBERS = "set sample.attribution to none or to a list of classes"
"""The remedy that makes rows shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The size of a layer's sample, known before it is made.

    Attributes:
        num_rows: activations.
        num_channels: of the layer.
        num_classes: that attributions are kept for; 0: none.
        share_left: the part of the step's tasks that is still to be run.
    """

    num_rows: int
    num_channels: int
    num_classes: int
    share_left: float = 1.0

    @property
    def width(self) -> int:
        """Numbers in a row: channels and classes."""
        return self.num_channels + self.num_classes

    def cells_within(self, grid: int) -> int:
        """Cells of a grid that can hold anything."""
        return min(grid**2, self.num_rows)


# Memory below it is not worth a line.
_LARGE_BYTES = 10**9


def if_large(need: MemoryNeed) -> tuple[MemoryNeed, ...]:
    """A need, unless it is too small to be counted."""
    return (need,) if need.num_bytes >= _LARGE_BYTES else ()
