"""The values of units over images of a run, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import RunSettings
from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.image_rows import batches_of_rows

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.models.before_relu import ValueMaps

# The values of all positions are sorted into bins, which takes several times the memory of the maps.
CPU_BATCH, GPU_BATCH = 16, 128


@dataclass(slots=True)
class Left:
    """The images that were left out: unreadable ones, and by layer those whose values are not finite."""

    bad: list[dict[str, Any]] = field(default_factory=list)
    not_finite: dict[str, int] = field(default_factory=dict)


def unit_batches(
    rows: pa.Table, settings: RunSettings, layers: Sequence[str], runtime: Runtime, left: Left
) -> Iterator[tuple[str, torch.Tensor, np.ndarray]]:
    """For every batch and layer: the layer, its values (B, U, rows, columns), and the image ids (B,).

    Args:   rows: of the index. left: gets the images that are left out.
    Raises: ModelError: no such layer, or no spatial map.
    """
    maps = _opened_maps(settings, layers, runtime.device)
    left.not_finite = dict.fromkeys(layers, 0)
    default = GPU_BATCH if runtime.device.startswith("cuda") else CPU_BATCH
    batches = batches_of_rows(
        rows,
        settings,
        runtime.device,
        batch_size=min(default, runtime.batch_size or default),
        num_workers=runtime.workers or 0,
    )
    with closing(batches):
        for batch in batches:
            left.bad += [{"image_id": b.image_id, "key": b.key, "reason": b.reason} for b in batch.bad]
            for ids, values in _fitting(maps, batch.image_id, batch.images, runtime.device):
                for layer, of_layer in values.items():
                    is_finite = of_layer.isfinite().flatten(1).all(dim=1)
                    kept = is_finite.cpu().numpy()
                    left.not_finite[layer] += int((~kept).sum())
                    yield layer, of_layer if kept.all() else of_layer[is_finite], ids[kept]
            runtime.advance(len(batch.image_id) + len(batch.bad))


def is_before_relu(settings: RunSettings, layers: Sequence[str], layer: str, device: str) -> np.ndarray:
    """Whether each unit's values are those before a ReLU: (U,) bool. layers: as for `unit_batches`."""
    return _opened_maps(settings, layers, device).is_before_relu[layer].cpu().numpy()


def _opened_maps(settings: RunSettings, layers: Sequence[str], device: str) -> ValueMaps:
    from atlas_pipeline.models import check_layers
    from atlas_pipeline.models.network_cache import opened_values

    check_layers(opened_network(settings.model, device), layers)
    return opened_values(settings.model, tuple(layers), device)


def _fitting(
    maps: ValueMaps, ids: np.ndarray, images: torch.Tensor, device: str
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """The values of a batch, in halves if the GPU has no memory for all of it."""
    import torch

    from atlas_pipeline.models.out_of_memory import is_out_of_memory

    start, size = 0, len(ids)
    while start < len(ids):
        chunk = slice(start, start + size)
        try:
            with torch.no_grad():
                values = dict(maps.read(images[chunk].to(device)))
        except RuntimeError as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            values = {}
        if not values:
            # Outside the except clause: the error holds the tensors.
            torch.cuda.empty_cache()
            size = -(-size // 2)
            continue
        yield ids[chunk], values
        start += size
