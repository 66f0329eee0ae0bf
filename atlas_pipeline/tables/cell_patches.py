"""Real patches of cells: squares of the icons' size around the positions nearest a cell's mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.config.run_settings import RunSettings
from atlas_pipeline.engine.stage import Artefact, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.models.network_cache import opened_cut, opened_network
from atlas_pipeline.numerics.crop_window import continued, window_like_icon
from atlas_pipeline.tables.chosen_images import batches_of

# Real patches a cell: as many as the bin names examples.
NUM_PATCHES = 9
_CELLS_PER_TASK = 128
_IMAGES_AT_ONCE = 64

Example = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class IconInputs:
    """Inputs of a stage that measures icons beside real patches of their cells.

    index: the images. bin: the cells, with the positions nearest their means. invert: the icons.
    """

    index: Artefact
    bin: Artefact
    invert: Artefact


def cell_tasks(cells: Artefact) -> list[Task]:
    """Tasks of about equal size over the cells of a grid; one task if there are none."""
    num_tasks = max(1, -(-cells.num_rows // _CELLS_PER_TASK))
    ends = [index * cells.num_rows // num_tasks for index in range(num_tasks + 1)]
    return [{"start": start, "stop": stop} for start, stop in pairwise(ends)]


def cell_patches(
    index: Artefact,
    examples: Sequence[Sequence[Example]],
    settings: RunSettings,
    layer: str,
    icon_px: int,
    device: str,
    num_workers: int = 0,
) -> list[NDArray[np.uint8]]:
    """The real patches of each cell: squares of ``icon_px``, cut from images as the network receives them.

    A patch and an icon cover the same field: the position that the patch was taken for looks at the patch's
    middle, as the icon's position looks at the icon's. Where the square leaves the image, the image is
    continued by reflection.

    Args:    examples: for each cell, its positions as image_id, row, col.
    Returns: for each cell, (patch, icon_px, icon_px, 3), in the order of its examples.
    Raises:  ImagesError: an image that was readable when it was sampled no longer is.
    """
    if not examples:
        return []
    from atlas_pipeline.inversion.placement import placed, shift_px_of

    map_size, icon_map = map_sizes(settings, layer, icon_px, device)
    shift_px = shift_px_of(placed(opened_cut(settings.model, layer, device), icon_px, device))
    patches = [np.empty((len(of_cell), icon_px, icon_px, 3), np.uint8) for of_cell in examples]
    wanted: dict[int, list[tuple[int, int]]] = {}
    for cell, of_cell in enumerate(examples):
        for rank, example in enumerate(of_cell):
            wanted.setdefault(example["image_id"], []).append((cell, rank))
    for batch in batches_of(
        index, list(wanted), settings, device, batch_size=_IMAGES_AT_ONCE, num_workers=num_workers
    ):
        for bad in batch.bad:
            raise ImagesError(
                f"image '{bad.key}' could be read before and cannot be read now ({bad.reason}); put it back"
            )
        for image_id, image in zip(batch.image_id.tolist(), batch.images.numpy(), strict=True):
            for cell, rank in wanted[image_id]:
                example = examples[cell][rank]
                position = (example["row"], example["col"])
                top, left = window_like_icon(position, map_size, image.shape[-1], icon_map, icon_px, shift_px)
                rows = continued(top, icon_px, image.shape[-2])
                cols = continued(left, icon_px, image.shape[-1])
                patches[cell][rank] = image[:, rows[:, None], cols].transpose(1, 2, 0)
    return patches


def map_sizes(
    settings: RunSettings, layer: str, icon_px: int, device: str
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the layer's map for an image of the network's own size, and for an icon."""
    import torch

    run = opened_network(settings.model, device).runs[layer]
    assert run.form is not None, layer
    assert run.shape is not None, layer
    with torch.no_grad():
        icon = opened_cut(settings.model, layer, device)(torch.zeros(1, 3, icon_px, icon_px, device=device))
    return run.form.grid(run.shape), (icon.shape[-2], icon.shape[-1])
