"""Images of a run by id, preprocessed as the network receives them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import RunSettings
from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.models.network_cache import opened_network

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
    from atlas_pipeline.images.batches import image_batches

    return image_batches(
        index.read().take(pa.array(np.sort(image_ids))),
        source=settings.source,
        path=settings.path,
        root=settings.root,
        preprocess=opened_network(settings.model, device).preprocess,
        seed=settings.seed,
        batch_size=batch_size,
        num_workers=num_workers,
        device=device if on_device else "cpu",
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
