"""Generated activations, and a neighbour graph of them."""

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
class GraphCase:
    """UMAP's graph of generated activations, and a start."""

    graph: Any
    start: np.ndarray

    @classmethod
    def of(cls, num_rows: int, device: str) -> GraphCase:
        """The graph of ``num_rows`` activations; their neighbours are searched on the device."""
        import scipy.sparse

        from atlas_pipeline.layout.neighbors import neighbors
        from atlas_pipeline.layout.umap_layout import spread_start

        vectors = clusters(num_rows, 64)
        near = neighbors([vectors], num_rows, NUM_NEIGHBORS, method="exact", device=device)
        indices, distances = near.fitted()
        # Weights fall from 1 with distance, as UMAP's do; its own need a minute of compilation.
        weights = np.exp(-(distances[:, 1:] - distances[:, 1:2]) / (distances[:, -1:] + 1e-12))
        rows = np.repeat(np.arange(len(indices)), NUM_NEIGHBORS - 1)
        one_way = scipy.sparse.csr_matrix(
            (weights.ravel(), (rows, indices[:, 1:].ravel())), shape=(len(indices),) * 2
        )
        return cls(one_way.maximum(one_way.T).tocsr(), spread_start([vectors[near.same.rows]], 2, "cosine"))

    def optimised(self, device: str, num_epochs: int) -> np.ndarray:
        """The layout by the engine `gpu` on a device: (vertex, 2)."""
        from atlas_pipeline.layout.umap_layout import UmapSettings, optimise_graph

        settings = UmapSettings(
            num_neighbors=NUM_NEIGHBORS, min_dist=0.1, num_epochs=num_epochs, engine="gpu", device=device
        )
        return optimise_graph(self.graph, self.start, settings, 0)
