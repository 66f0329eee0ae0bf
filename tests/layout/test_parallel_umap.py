import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from atlas_pipeline.layout import gpu_umap, umap_edges
from atlas_pipeline.layout.gpu_umap import gpu_layouts
from atlas_pipeline.layout.parallel_umap import parallel_layout
from atlas_pipeline.layout.tensor_graph import edges_on
from atlas_pipeline.layout.umap_edges import Force, build_edges, epoch_key, step_size

FORCE = Force(a=1.9, b=0.8)


def graph(num_rows=60, seed=0):
    """Make a symmetric random graph with a hub."""
    rng = np.random.default_rng(seed)
    weights = scipy.sparse.random(num_rows, num_rows, 0.1, "csr", rng=rng, dtype=np.float32).tolil()
    weights[0, 1:40] = 0.5
    weights.setdiag(0)
    return weights.maximum(weights.T).tocsr()


def start(num_rows=60):
    return np.random.default_rng(1).uniform(0, 10, (num_rows, 2)).astype(np.float32)


def tensor_layout(edges, places, force, num_epochs, seed):
    return gpu_layouts(edges_on(edges, "cpu"), [places], force, num_epochs, [seed])[0]


def mixed(bits):
    for shift, factor in ((16, umap_edges.MIX_FIRST), (13, umap_edges.MIX_SECOND)):
        bits = (bits ^ (bits >> shift)) * factor % 2**32
    return bits ^ (bits >> 16)


def naive(edges, places, force, num_epochs, seed, edges_per_row=10**9):
    """The scheme of umap_edges in plain Python and float64; longer rows are split as in gpu_umap."""
    old, clip = places.astype(np.float64), umap_edges.MAX_STEP
    for epoch in range(num_epochs):
        new, step = old.copy(), step_size(epoch, num_epochs)
        for j in range(len(old)):
            base = mixed(j ^ epoch_key(seed, epoch))
            degree = edges.row_start[j + 1] - edges.row_start[j]
            ends = []
            for first in range(0, degree, edges_per_row):
                own = old[j].copy()
                for slot in range(first, min(first + edges_per_row, degree)):
                    e = edges.row_start[j] + slot
                    if (epoch + 1) * int(edges.rate[e]) // 65536 == epoch * int(edges.rate[e]) // 65536:
                        continue
                    away = own - old[edges.neighbor[e]]
                    square = away @ away
                    if square > 0:
                        power = square**force.b
                        slope = -2 * force.a * force.b * power / (square * (force.a * power + 1))
                        own += umap_edges.PULL * step * np.clip(slope * away, -clip, clip)
                    push = np.zeros(2)
                    for s in range(5):
                        k = mixed((base + (5 * slot + s) * umap_edges.GOLDEN) % 2**32) * len(old) >> 32
                        if k != j:
                            away = own - old[k]
                            square = away @ away
                            slope = 2 * force.b / ((1e-3 + square) * (force.a * square**force.b + 1))
                            push += np.clip(slope * away, -clip, clip)
                    own += step * push
                ends.append(own)
            if ends:
                new[j] = np.mean(ends, axis=0)
        old = new
    return old


@pytest.mark.parametrize(
    ("optimiser", "edges_per_row"), [(parallel_layout, 10**9), (tensor_layout, 10**9), (tensor_layout, 8)]
)
def test_equals_the_scheme_in_plain_python(optimiser, edges_per_row, monkeypatch):
    monkeypatch.setattr(gpu_umap, "EDGES_PER_ROW", min(edges_per_row, 64))
    edges = build_edges(graph(), 4)
    assert 40 < edges.degree.max() < 64
    expected = naive(edges, start(), FORCE, 4, 7, edges_per_row)
    assert optimiser(edges, start(), FORCE, 4, 7) == pytest.approx(expected, abs=2e-3)


def test_tensors_agree_with_compiled_code_until_rounding_has_grown():
    edges = build_edges(graph(300), 1)
    compiled = parallel_layout(edges, start(300), FORCE, 1, 0)
    on_tensors = tensor_layout(edges, start(300), FORCE, 1, 0)
    assert (np.abs(on_tensors - compiled) < 1e-3).mean() > 0.98
    assert np.abs(compiled - start(300)).max() > 1


def test_threads_do_not_change_a_bit():
    import numba

    edges, before, layouts = build_edges(graph(500), 30), numba.get_num_threads(), []
    for num_threads in {1, before}:
        numba.set_num_threads(num_threads)
        layouts.append(parallel_layout(edges, start(500), FORCE, 30, 0))
    numba.set_num_threads(before)
    assert np.array_equal(layouts[0], layouts[-1])
    assert not np.array_equal(layouts[0], parallel_layout(edges, start(500), FORCE, 30, 1))


@pytest.mark.extended
def test_code_from_the_cache_gives_the_bits_of_code_compiled_here(tmp_path):
    """A run and its repetition, or two workers, must agree no matter which of them compiled first."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_parallel_umap import *; import hashlib; "
        "layout = parallel_layout(build_edges(graph(300), 60), start(300), FORCE, 60, 0); "
        "print(hashlib.sha256(layout.tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    compiled, cached = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled == cached


def test_edges_are_due_as_often_as_they_are_heavy():
    weights = np.zeros((6, 6), np.float32)
    weights[0, 1:] = [1, 0.5, 0.25, 0.11, 0.05]
    edges = build_edges(scipy.sparse.csr_matrix(weights), 10)
    # The last edge is due less than once in 10 epochs, so it is left out.
    assert edges.neighbor.tolist() == [1, 2, 3, 4]
    assert edges.degree.tolist() == [4, 0, 0, 0, 0, 0]
    epochs = np.arange(11)[:, None] * edges.rate.astype(np.int64) >> 16
    assert np.diff(epochs, axis=0).sum(axis=0).tolist() == [10, 5, 2, 1]
    assert np.diff(epochs, axis=0)[:, 0].tolist() == [1] * 10


def test_a_vertex_alone_stays_and_a_graph_without_edges_too():
    edges = build_edges(scipy.sparse.csr_matrix((3, 3), dtype=np.float32), 5)
    for layout in (
        parallel_layout(edges, start(3), FORCE, 5, 0),
        tensor_layout(edges, start(3), FORCE, 5, 0),
    ):
        assert np.array_equal(layout, start(3))
