"""Generated activations, and the neighbours from which they are laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_NEIGHBORS = 15


def clusters(num_rows: int, num_channels: int, num_clusters: int = 20) -> np.ndarray:
    """Non-negative clustered activations, (row, channel) float32, equal on every machine."""
    rng = np.random.default_rng(0)
    centres = np.maximum(rng.standard_normal((num_clusters, num_channels), np.float32), 0)
    rows = centres[rng.integers(num_clusters, size=num_rows)]
    return np.maximum(rows + 0.2 * rng.standard_normal((num_rows, num_channels), np.float32), 0)


@dataclass(frozen=True)
class LayoutCase:
    """Neighbours of generated activations, and the start of their layout."""

    near: Any
    start: np.ndarray

    @classmethod
    def of(cls, num_rows: int, device: str) -> LayoutCase:
        """The case of ``num_rows`` activations; their neighbours are searched on the device."""
        from atlas_pipeline.layout.neighbors import neighbors
        from atlas_pipeline.layout.umap_layout import spread_start

        vectors = clusters(num_rows, 64)
        found = neighbors([vectors], num_rows, NUM_NEIGHBORS, method="exact", device=device)
        return cls(found.fitted(), spread_start([vectors[found.same.rows]], 2, "cosine"))

    def layouts(self, device: str, num_epochs: int, num_seeds: int = 1) -> list[np.ndarray]:
        """Layouts by the engine `gpu` on a device: (vertex, 2) for each seed."""
        from atlas_pipeline.layout.umap_layout import UmapSettings, tensor_layouts

        settings = UmapSettings(
            num_neighbors=NUM_NEIGHBORS, min_dist=0.1, num_epochs=num_epochs, engine="gpu", device=device
        )
        return tensor_layouts(self.near, NUM_NEIGHBORS, self.start, settings, range(num_seeds))
