"""Images of a run by id, preprocessed as the network receives them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import RunSettings
from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.tables.image_rows import batches_of_rows

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.images.batches import Batch


def batches_of(
    index: Artefact,
    image_ids: Sequence[int] | np.ndarray,
    settings: RunSettings,
    device: str,
    *,
    batch_size: int,
    num_workers: int = 0,
    on_device: bool = False,
) -> Generator[Batch]:
    """Batches of the images, in the order of the index (not that of the ids), without unreadable images.

    Args: device: of the network. on_device: send the images there, a batch ahead, if it is a GPU.
    """
    rows = index.read().take(pa.array(np.sort(image_ids)))
    return batches_of_rows(
        rows, settings, device, batch_size=batch_size, num_workers=num_workers, on_device=on_device
    )


def images_of(
    index: Artefact, image_ids: Sequence[int] | np.ndarray, settings: RunSettings, device: str
) -> torch.Tensor:
    """The images in the order of the ids; an id that occurs twice gives its image twice.

    Returns: (image, 3, side, side) uint8.
    Raises:  ImagesError: an image that was readable when it was sampled no longer is.
    """
    unique, back = np.unique(np.asarray(image_ids), return_inverse=True)
    (batch,) = batches_of(index, unique, settings, device, batch_size=len(unique))
    for bad in batch.bad:
        raise ImagesError(
            f"image '{bad.key}' could be read before and cannot be read now ({bad.reason}); put it back"
        )
    return batch.images[back]
