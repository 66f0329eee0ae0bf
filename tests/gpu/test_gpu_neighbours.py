"""Exact neighbours on a pretended GPU: the true ones whatever the switches, with few waits, in any memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pretended_cuda import OUT_OF_MEMORY, pretended_cuda
from scipy.spatial.distance import cdist

from atlas_pipeline.layout import exact_search, search
from atlas_pipeline.layout import neighbors as module
from atlas_pipeline.layout.exact_search import ExactSearch
from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.stages.atlas.neighbors import NEIGHBORS

K = 6


def clustered(num_rows=400, num_channels=24, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, num_channels))
    rows = centres[rng.integers(12, size=num_rows)] + 0.2 * rng.normal(size=(num_rows, num_channels))
    return np.maximum(rows, 0)


def hard_inputs():
    rng, rows = np.random.default_rng(1), clustered()
    near = np.repeat(clustered(40, seed=2), 10, axis=0)
    line = np.outer(np.arange(1, 401), np.ones(24)) + 1e-3 * rng.random((400, 24))
    huge = 3e4 * rows[:8]
    inputs = {
        "clusters": rows,
        "copies and zeros": np.concatenate([rows[:200], rows[:150], np.zeros((50, 24))]),
        "near ties": near + 1e-3 * rng.random(near.shape),
        "nearly equal": 1 + 1e-3 * rng.random((400, 24)),
        "far from the origin": rows + 50,
        "a line": line,
        "some huge": np.concatenate([huge, -huge, rows[16:] - rows[16:].mean(axis=0)]),
        "equally far": np.eye(400),
        "tiny": rows * 1e-6,
    }
    return {name: each.astype(np.float32) for name, each in inputs.items()}


INPUTS = hard_inputs()
# A CPU does not tell these apart by the cosine; a GPU subtracts the mean and does.
TIED_ON_A_CPU = ("nearly equal", "a line")


def by_float64(found, rows, metric):
    """Distances (vertex, vertex) of the vertices in float64; a vertex has none to itself."""
    vectors = rows[found.same.rows].astype(np.float64)
    if metric == "cosine":
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(norms > 0, norms, 1)
        # Zeros are at right angles to all others.
        vectors = np.concatenate([vectors, norms == 0], axis=1)
    distances = cdist(vectors, vectors)
    np.fill_diagonal(distances, -1)
    return distances


@pytest.mark.parametrize("switch", ["highest", "high", "medium"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", INPUTS)
def test_neighbours_are_those_of_float64_whatever_the_switches(kind, metric, switch):
    rows = INPUTS[kind]
    with pretended_cuda(tf32=True):
        torch.set_float32_matmul_precision(switch)
        try:
            found = neighbors([rows], len(rows), K, metric=metric, method="exact", device="cuda")
            assert torch.get_float32_matmul_precision() == switch
        finally:
            torch.set_float32_matmul_precision("highest")
    true = by_float64(found, rows, metric)
    expected = np.sort(true, axis=1)[:, :K]
    taken = np.take_along_axis(true, found.indices.astype(np.int64), axis=1)
    # Distances that float32 cannot tell apart may change places; vectors are stored less their mean.
    offset = 1 if metric == "cosine" else np.abs(rows.mean(axis=0)).max()
    np.testing.assert_allclose(taken, expected, rtol=2e-5, atol=float(offset) * 2**-22)
    assert (found.indices[:, 0] == np.arange(len(true))).all()
    assert found.search == {"method": "exact", "device": "cuda", "gpu_was_full": False}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", [kind for kind in INPUTS if kind not in TIED_ON_A_CPU])
def test_neighbours_equal_those_of_the_cpu_to_the_bit(kind, metric):
    rows, fitted = INPUTS[kind], np.arange(0, 400, 2)
    for chosen in (None, fitted):
        here = neighbors([rows[:90], rows[90:]], len(rows), K, metric=metric, fitted=chosen)
        with pretended_cuda():
            there = neighbors(
                [rows[:90], rows[90:]], len(rows), K, metric=metric, fitted=chosen, device="cuda"
            )
        assert np.array_equal(here.indices, there.indices)
        assert np.array_equal(here.distances, there.distances)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_float32_products_follow_no_switch(metric, monkeypatch):
    """Where a GPU has no bfloat16 products, all rows depend on the precision of float32."""
    monkeypatch.setattr(exact_search, "has_bfloat16_products", lambda device: False)
    rng = np.random.default_rng(0)
    # Groups of 60: float32 tells all their distances apart, TF32 none.
    rows = np.repeat(rng.normal(size=(10, 64)), 60, axis=0) + 0.01 * rng.normal(size=(600, 64))
    rows = rows.astype(np.float32)
    with pretended_cuda(tf32=True):
        torch.set_float32_matmul_precision("high")
        try:
            there = neighbors([rows], len(rows), K, metric=metric, device="cuda")
        finally:
            torch.set_float32_matmul_precision("highest")
    assert np.array_equal(there.indices, neighbors([rows], len(rows), K, metric=metric).indices)


def test_bfloat16_products_are_added_in_float32(gpu, monkeypatch):
    """The proof counts on it; cuBLAS may add parts of a sum in bfloat16 unless torch forbids it."""
    seen, top, matmul = [], ExactSearch._top, torch.backends.cuda.matmul

    def watched(*args):
        seen.append(matmul.allow_bf16_reduced_precision_reduction)
        return top(*args)

    monkeypatch.setattr(ExactSearch, "_top", watched)
    before = matmul.allow_bf16_reduced_precision_reduction
    assert compared("clusters") == [400]
    assert seen == [False]
    assert matmul.allow_bf16_reduced_precision_reduction == before


def compared(kind, k=K):
    """Rows that each pass compared."""
    vectors = torch.from_numpy(np.unique(INPUTS[kind], axis=0)).cuda()
    search = ExactSearch(vectors, "euclidean")
    search.nearest(vectors, k, None, lambda _: None)
    return search.num_compared


def test_the_proof_is_taken_where_it_holds_and_not_elsewhere(gpu):
    assert compared("clusters") == [400]
    first, second, *_ = compared("some huge")
    assert first == 400
    assert 0 < second < 40
    assert compared("equally far") == [400, 400, 400]


def test_a_tile_adds_no_wait(monkeypatch):
    monkeypatch.setattr(exact_search, "_FEWEST_ROWS", 32)
    waits, launches = [], []
    for num_scores in (1 << 20, 32 * 400, 32 * 100):
        monkeypatch.setattr(exact_search, "_LARGEST_TILE", num_scores)
        monkeypatch.setattr(exact_search, "_SMALLEST_TILE", num_scores)
        with pretended_cuda() as log:
            compared("equally far")
            waits.append(log.num_waits)
            launches.append(log.num_launches)
    assert waits[0] == waits[1] == waits[2] <= 8
    assert launches[0] < launches[1] / 5 < launches[2] / 5


@pytest.mark.parametrize("kind", ["clusters", "equally far"])
def test_tiles_do_not_change_a_bit(kind, monkeypatch):
    found = []
    for num_scores in (1 << 20, 8 * 100):
        monkeypatch.setattr(exact_search, "_LARGEST_TILE", num_scores)
        monkeypatch.setattr(exact_search, "_SMALLEST_TILE", num_scores)
        monkeypatch.setattr(exact_search, "_FEWEST_ROWS", 8)
        with pretended_cuda():
            found.append(neighbors([INPUTS[kind]], 400, K, device="cuda"))
    assert np.array_equal(found[0].indices, found[1].indices)
    assert np.array_equal(found[0].distances, found[1].distances)


@pytest.mark.parametrize("source", OUT_OF_MEMORY)
def test_a_tile_that_does_not_fit_is_halved(source, monkeypatch):
    monkeypatch.setattr(exact_search, "_LARGEST_TILE", 64 * 400)
    monkeypatch.setattr(exact_search, "_SMALLEST_TILE", 8 * 400)
    monkeypatch.setattr(exact_search, "_FEWEST_ROWS", 8)
    rows, told = INPUTS["clusters"], []
    with pretended_cuda() as log:
        refusal = log.refuse(source, "mm", call=3, times=2)
        found = neighbors([rows], len(rows), K, device="cuda", advance=told.append)
    assert refusal.raised == 2
    assert sum(told) == len(rows)
    assert found.search["device"] == "cuda"
    assert np.array_equal(found.indices, neighbors([rows], len(rows), K).indices)


@pytest.mark.parametrize("operation", ["mm", "copy to the GPU", "topk"])
@pytest.mark.parametrize("source", OUT_OF_MEMORY)
def test_a_gpu_without_memory_leaves_the_search_to_the_cpu(source, operation, monkeypatch):
    monkeypatch.setattr(exact_search, "_LARGEST_TILE", 64 * 400)
    monkeypatch.setattr(exact_search, "_SMALLEST_TILE", 8 * 400)
    monkeypatch.setattr(exact_search, "_FEWEST_ROWS", 8)
    rows, told = INPUTS["clusters"], []
    with pretended_cuda() as log:
        log.refuse(source, operation, call=2, times=10**6)
        found = neighbors([rows], len(rows), K, device="cuda", advance=told.append)
    assert found.search == {"method": "exact", "device": "cpu", "gpu_was_full": True}
    assert sum(told) == len(rows)
    assert np.array_equal(found.indices, neighbors([rows], len(rows), K).indices)


def test_another_error_is_not_taken_for_a_lack_of_memory(gpu):
    gpu.refuse(lambda: RuntimeError("an illegal memory access was encountered"), "mm")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        neighbors([INPUTS["clusters"]], 400, K, device="cuda")


def test_a_gpu_searches_exactly_where_a_cpu_approximates(monkeypatch):
    def descend(self, k, seed):
        return np.tile(np.arange(len(self.vectors), dtype=np.int32), (len(self.vectors), 1))

    rows = INPUTS["clusters"][:100]
    monkeypatch.setattr(search.VectorSearch, "descend", descend)
    monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    with pretended_cuda():
        there = neighbors([rows], 100, K, device="cuda")
    assert there.search == {"method": "exact", "device": "cuda", "gpu_was_full": False}
    monkeypatch.setattr(module, "EXACT_UP_TO_ON_GPU", 20)
    with pretended_cuda() as log:
        beyond = neighbors([rows], 100, K, device="cuda")
    assert beyond.search == {"method": "approximate", "device": "cpu", "gpu_was_full": False}
    assert not log.touched
    assert np.array_equal(there.indices, beyond.indices)


def test_a_run_says_that_the_gpu_was_full():
    step = SimpleNamespace(layer="mixed4", view="all")
    for is_full, num_lines in ((True, 1), (False, 0)):
        search = {"method": "exact", "device": "cpu", "gpu_was_full": is_full}
        remarks = list(NEIGHBORS.remarks(step, SimpleNamespace(notes={"search": search})))
        assert len(remarks) == num_lines
        assert all("mixed4, all: the GPU's memory was too small" in line for line in remarks)
