"""umap-learn's compiled functions are kept on disk, and kept code gives the bits of code compiled here."""

import numba
import numpy as np

from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.layout.umap_layout import UmapSettings, umap_layouts
from atlas_pipeline.layout.umap_learn import umap_learn


def kept():
    """Module and name of each function that is kept."""
    umap_learn()
    import umap.layouts
    import umap.umap_

    yield umap.umap_, "smooth_knn_dist"
    yield umap.umap_, "compute_membership_strengths"
    yield umap.layouts, "_nb_optimize_layout_euclidean_single_epoch"


def test_the_next_process_finds_the_compiled_code():
    assert all(getattr(module, name).stats.cache_path for module, name in kept())


def test_kept_code_gives_the_bits_of_code_compiled_here(tmp_path, monkeypatch):
    functions = list(kept())
    # Not before umap-learn is imported: pynndescent would compile all of its code again.
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))
    rows = np.random.default_rng(0).random((300, 10), np.float32)
    settings = UmapSettings(num_neighbors=12, min_dist=0.01, num_epochs=30, engine="cpu")
    layouts = []
    for is_found in (False, True):
        copies = []
        for module, name in functions:
            function = getattr(module, name)
            copies.append(numba.jit(**function.targetoptions)(function.py_func))
            copies[-1].enable_caching()
            monkeypatch.setattr(module, name, copies[-1])
        near = neighbors([rows], len(rows), 12, method="exact")
        layouts += umap_layouts([rows], near, settings, [0])
        assert [bool(copy.stats.cache_hits) for copy in copies] == [is_found] * len(copies)
    assert np.array_equal(*layouts)
