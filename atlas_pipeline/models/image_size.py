"""One-line errors for image sizes that a network, or its part up to a layer, does not take."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.execution import IMAGE_FAILURES
from atlas_pipeline.models.out_of_memory import is_out_of_memory


def size_error(
    forward: Callable[[Tensor], object], images: Tensor, name: str, own_px: int, error: Exception
) -> ModelError | None:
    """The error for a failed ``forward(images)`` if the image size is the reason; otherwise None.

    The size is the reason if images of zeros fail at that size but not at the network's own size.

    Args:   images: (B, 3, height, width). name: the network's name. own_px: side of the images it was opened
            for.
    Raises: torch.OutOfMemoryError: a trial needs more memory than there is.
    """
    height, width = images.shape[2:]
    if is_out_of_memory(error) or (height, width) == (own_px, own_px):
        return None

    def runs(rows: int, columns: int) -> bool:
        try:
            with torch.no_grad():
                forward(images.new_zeros(1, 3, rows, columns))
        except IMAGE_FAILURES as failure:
            if is_out_of_memory(failure):
                raise
            return False
        return True

    if not runs(own_px, own_px) or runs(height, width):
        return None
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if not runs(2 * own_px, 2 * own_px):
        return ModelError(f"{name} takes images of {own_px} px only ({reason}); set invert.size_px: {own_px}")
    given = f"{height} px" if height == width else f"{height} x {width} px"
    return ModelError(
        f"{name} cannot run on images of {given} ({reason}); set invert.size_px to {own_px}, the size of its "
        "own images, or near it"
    )
