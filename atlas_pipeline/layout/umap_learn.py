"""umap-learn, whose compiled functions are kept on disk for the next process."""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def umap_learn() -> ModuleType:
    """The module ``umap.umap_``; numba compiles its functions once a machine rather than once a process.

    umap-learn does not ask numba to keep them, and compiling them takes 10 seconds, longer than a small
    layout. The kept code gives the same bits (a test compares them).
    """
    import umap.layouts
    import umap.umap_

    functions = [umap.umap_.smooth_knn_dist, umap.umap_.compute_membership_strengths]
    # umap-learn before 0.5.8 compiles this one inside a function, out of reach.
    functions += [getattr(umap.layouts, "_nb_optimize_layout_euclidean_single_epoch", None)]
    for function in filter(None, functions):
        function.enable_caching()
    return umap.umap_
