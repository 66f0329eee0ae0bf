"""The size of the sample that a step works on, from which its disk and memory needs follow."""

from __future__ import annotations

from dataclasses import dataclass

from atlas_pipeline.engine.declaration import MemoryNeed

FEWER_NUMBERS = "set sample.attribution to none or to a list of classes"
"""A remedy for error messages: it stores fewer numbers per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The size of a layer's sample, known before the sample is made, or of a layer over the images.

    Attributes:
        num_rows: number of activations; of images, for a step that reads the layer from the images.
        num_channels: channels of the layer.
        num_classes: classes that attributions are kept for; 0: no attributions.
        share_left: fraction of the step's tasks that have not run yet.
    """

    num_rows: int
    num_channels: int
    num_classes: int
    share_left: float = 1.0

    @property
    def width(self) -> int:
        """Numbers per row: channels plus classes."""
        return self.num_channels + self.num_classes

    def cells_within(self, grid: int) -> int:
        """Upper bound on the non-empty cells of a grid of grid x grid cells."""
        return min(grid**2, self.num_rows)


# Smaller needs are not reported.
_LARGE_BYTES = 10**9


def if_large(need: MemoryNeed) -> tuple[MemoryNeed, ...]:
    """The need as a tuple of one; empty if it is too small to report."""
    return (need,) if need.num_bytes >= _LARGE_BYTES else ()
