"""How much memory a layer's layout takes, known before the work begins."""

from __future__ import annotations

FEWER_ACTIVATIONS = "fit it on a subset (project.fit_on), or lower images.num_images"
"""The remedy for a layout that is too large."""

# Beside the vectors, per fitted row: the descent's heaps and forest, a few times the neighbours.
_SEARCH_BYTES_PER_NEIGHBOR = 60
# Per neighbour of a fitted row where the union is widest: the graph, its transpose, their product.
_GRAPH_BYTES_PER_NEIGHBOR = 130
# The same where several layers are laid out together, for each: what is kept of its graph.
_KEPT_BYTES_PER_NEIGHBOR = 50
# Python, torch, numba and the blocks that are read at a time.
_BASE_BYTES = 5 << 28


def layout_bytes(num_rows: int, num_channels: int, num_neighbors: int, fit_on: int | None = None) -> int:
    """Peak memory of the stages neighbors and project (UMAP of a whole layer), bytes: an upper estimate.

    The larger of two: the search, which holds the fitted rows as float32 and the descent's lists; and the
    graph, which no longer needs the rows. Both hold neighbours (int32 and float32) of every activation.

    Args: num_rows: activations. fit_on: as in the config; None: all of them.
    """
    fitted = min(num_rows, fit_on or num_rows)
    neighbors = num_rows * num_neighbors * 8
    search = fitted * ((num_channels + 1) * 4 + num_neighbors * _SEARCH_BYTES_PER_NEIGHBOR)
    graph = fitted * num_neighbors * _GRAPH_BYTES_PER_NEIGHBOR
    return _BASE_BYTES + neighbors + max(search, graph)


def aligned_layout_bytes(
    num_rows: int, num_layers: int, num_neighbors: int, fit_on: int | None = None
) -> int:
    """Peak memory of laying out several layers together, bytes: an upper estimate.

    One graph at a time is built; of all layers the neighbours, graphs, edges and springs are held.
    """
    fitted = min(num_rows, fit_on or num_rows)
    held = num_layers * num_neighbors * (num_rows * 8 + fitted * _KEPT_BYTES_PER_NEIGHBOR)
    return _BASE_BYTES + held + fitted * num_neighbors * _GRAPH_BYTES_PER_NEIGHBOR
