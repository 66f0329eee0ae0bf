"""Memory estimates of a layer's layout, made before the work begins."""

from __future__ import annotations

FEWER_ACTIVATIONS = "fit it on a subset (project.fit_on), or lower images.num_images"
"""The remedy for a layout that is too large."""

# Per neighbour of a fitted row, in addition to the vectors: the heaps and the forest of the NN-descent.
_SEARCH_BYTES_PER_NEIGHBOR = 60
# Per neighbour of a fitted row at the peak of the fuzzy union: the graph, its transpose, their product.
_GRAPH_BYTES_PER_NEIGHBOR = 130
# Per neighbour of a fitted row and layer of an aligned layout: the part of the graph that is kept.
_KEPT_BYTES_PER_NEIGHBOR = 50
# Python, torch, numba and the blocks being read.
_BASE_BYTES = 5 << 28


def layout_bytes(num_rows: int, num_channels: int, num_neighbors: int, fit_on: int | None = None) -> int:
    """Upper estimate of the peak memory of the stages neighbors and project (UMAP of a layer), in bytes.

    The peak is the larger of two: the search holds the fitted rows as float32 and the lists of the
    NN-descent; the graph no longer needs the rows. Both hold the neighbours (int32 and float32) of every
    activation.

    Args: num_rows: activations. fit_on: as in the config; None: all activations.
    """
    fitted = min(num_rows, fit_on or num_rows)
    neighbors = num_rows * num_neighbors * 8
    search = fitted * ((num_channels + 1) * 4 + num_neighbors * _SEARCH_BYTES_PER_NEIGHBOR)
    graph = fitted * num_neighbors * _GRAPH_BYTES_PER_NEIGHBOR
    return _BASE_BYTES + neighbors + max(search, graph)


def aligned_layout_bytes(
    num_rows: int, num_layers: int, num_neighbors: int, fit_on: int | None = None
) -> int:
    """Upper estimate of the peak memory of an aligned layout of several layers, in bytes.

    Graphs are built one at a time; the neighbours, graphs, edges and springs of all layers stay in memory.
    """
    fitted = min(num_rows, fit_on or num_rows)
    held = num_layers * num_neighbors * (num_rows * 8 + fitted * _KEPT_BYTES_PER_NEIGHBOR)
    return _BASE_BYTES + held + fitted * num_neighbors * _GRAPH_BYTES_PER_NEIGHBOR
