"""UMAP on a pretended GPU: launches that no degree changes, the bits of single layouts, too little memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch
from pretended_cuda import OUT_OF_MEMORY, pretended_cuda

from atlas_pipeline.layout import layout_result, umap_layout
from atlas_pipeline.layout.gpu_umap import EDGES_PER_ROW, gpu_layouts
from atlas_pipeline.layout.layout_result import quality_on, umap_result
from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.layout.pca import pca_start
from atlas_pipeline.layout.tensor_graph import edges_on, fuzzy_edges
from atlas_pipeline.layout.umap_edges import Force, build_edges
from atlas_pipeline.layout.umap_layout import UmapSettings, fitted_layouts, fuzzy_graph
from atlas_pipeline.numerics.quality import layout_quality
from atlas_pipeline.stages.atlas.project import PROJECT, UmapStepConfig

FORCE, NUM_EPOCHS = Force(a=1.9, b=0.8), 6


def ring(num_vertices, num_offsets, num_hubs=0):
    """A ring, each vertex joined to the next ones on either side; hubs are joined to half of the ring."""
    graph = scipy.sparse.lil_matrix((num_vertices + num_hubs,) * 2, dtype=np.float32)
    vertices = np.arange(num_vertices)
    for offset in range(1, num_offsets + 1):
        graph[vertices, (vertices + offset) % num_vertices] = 1 - 0.5 * offset / num_offsets
    graph[num_vertices:, : num_vertices // 2] = 0.4
    graph = graph.tocsr()
    return build_edges(graph + graph.T, NUM_EPOCHS)


def star(num_vertices):
    graph = scipy.sparse.lil_matrix((num_vertices, num_vertices), dtype=np.float32)
    graph[0, 1:] = 1
    graph = graph.tocsr()
    return build_edges(graph + graph.T, NUM_EPOCHS)


def starts(num_vertices, num_seeds):
    draws = [np.random.default_rng(seed) for seed in range(num_seeds)]
    return [rng.uniform(0, 10, (num_vertices, 2)).astype(np.float32) for rng in draws]


def laid_out(edges, device, seeds=(0,), num_epochs=NUM_EPOCHS):
    planes = starts(len(edges.degree), max(seeds) + 1)
    chosen = [planes[seed] for seed in seeds]
    return gpu_layouts(edges_on(edges, device), chosen, FORCE, num_epochs, seeds)


def test_launches_do_not_depend_on_the_degree():
    launches = []
    for edges in (star(600), ring(600, EDGES_PER_ROW)):
        with pretended_cuda() as log:
            laid_out(edges, "cuda")
            launches.append(log.num_launches)
    assert star(600).degree.max() == 599
    assert ring(600, EDGES_PER_ROW).degree.max() == 2 * EDGES_PER_ROW
    assert launches[0] == launches[1]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_further_epoch_is_one_launch_and_no_wait(seeds):
    edges, counts = ring(96, 4, num_hubs=2), []
    for num_epochs in (4, 9):
        with pretended_cuda() as log:
            laid_out(edges, "cuda", seeds, num_epochs)
            counts.append((log.num_launches, log.num_waits))
    assert counts[1][0] == counts[0][0] + 5
    assert counts[1][1] == counts[0][1]


def test_a_graph_of_an_epoch_gives_the_layout_of_the_cpu_to_the_bit():
    edges = ring(96, 4, num_hubs=2)
    with pretended_cuda():
        there = laid_out(edges, "cuda", (0, 1))
    here = laid_out(edges, "cpu", (0, 1))
    assert np.array_equal(there, here)
    assert np.abs(here[0] - starts(98, 1)[0]).max() > 1


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_layouts_made_together_equal_single_ones_to_the_bit(device):
    """Vertices of a degree are multiples of 32: a CPU rounds the powers of a remainder in another way."""
    edges = ring(128, 4, num_hubs=32)
    assert sorted(set(edges.degree.tolist())) == [8, 8 + 32, 64]
    with pretended_cuda():
        together = laid_out(edges, device, (0, 1, 2))
        alone = [laid_out(edges, device, (seed,))[0] for seed in (0, 1, 2)]
    assert np.array_equal(together, alone)
    assert not np.array_equal(together[0], together[1])


def clustered(num_rows=300, num_channels=12):
    rng = np.random.default_rng(0)
    centres = np.abs(rng.normal(size=(6, num_channels)))
    rows = centres[rng.integers(6, size=num_rows)] + 0.2 * rng.normal(size=(num_rows, num_channels))
    return np.maximum(rows, 0).astype(np.float32)


@pytest.mark.parametrize("kind", ["clusters", "equal distances", "two vertices", "nearly equal"])
def test_edges_equal_umap_learns(kind):
    rows = {
        "clusters": clustered(),
        "equal distances": np.eye(40, dtype=np.float32),
        "two vertices": clustered(2),
        "nearly equal": (1 + 1e-7 * np.random.default_rng(0).random((50, 4))).astype(np.float32),
    }[kind]
    near = neighbors([rows], len(rows), 15).fitted()
    k = near[0].shape[1]
    expected, found = build_edges(fuzzy_graph(near, k), 200), fuzzy_edges(near, k, 200, "cpu")
    assert np.array_equal(found.row_start.numpy(), expected.row_start)
    assert np.array_equal(found.neighbor.numpy(), expected.neighbor)
    assert np.abs(found.rate.numpy() - expected.rate).max() <= 1


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_principal_components_equal_those_of_the_cpu(metric, gpu):
    rows = clustered()
    rows[5] = 0
    there = pca_start([rows[:7], rows[7:]], 2, metric, "cuda")
    assert there == pytest.approx(pca_start([rows], 2, metric), abs=1e-6)
    assert gpu.launches_of("mm") > 0


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_quality_equals_that_of_the_cpu(metric, monkeypatch):
    monkeypatch.setattr(layout_result, "CPU_UP_TO", 10)
    rows = clustered()
    layout = pca_start([rows], 2, metric)
    with pretended_cuda(tf32=True) as log:
        torch.set_float32_matmul_precision("high")
        try:
            there = quality_on("cuda", [rows[:100], rows[100:]], layout, 0, metric)
        finally:
            torch.set_float32_matmul_precision("highest")
    assert log.launches_of("mm") == 4
    assert there == pytest.approx(layout_quality([rows], layout, 0, metric), abs=1e-4)


@pytest.mark.parametrize("source", OUT_OF_MEMORY)
def test_quality_is_measured_on_the_cpu_if_the_gpu_is_full(source, monkeypatch):
    monkeypatch.setattr(layout_result, "CPU_UP_TO", 10)
    rows = clustered()
    layout = pca_start([rows], 2)
    with pretended_cuda() as log:
        refusal = log.refuse(source, "mm")
        there = quality_on("cuda", [rows], layout, 0, "cosine")
    assert refusal.raised == 1
    assert there == layout_quality([rows], layout, 0, "cosine")


def settings(engine="auto", device="cuda"):
    return UmapSettings(num_neighbors=10, min_dist=0.1, num_epochs=NUM_EPOCHS, engine=engine, device=device)


def test_large_layouts_are_made_on_the_gpu_and_say_so(monkeypatch):
    monkeypatch.setattr(umap_layout, "CPU_UP_TO", 100)
    rows, near = clustered(), neighbors([clustered()], 300, 10)
    few = neighbors([rows[:100]], 100, 10)
    with pretended_cuda() as log:
        assert fitted_layouts([rows[:100]], few, settings(), [0]).engine == "cpu"
        assert not log.touched
        result = umap_result([rows], near, settings(), [0, 1], 2)
    assert result.made_by == {"engine": "gpu", "gpu_was_full": False}
    assert result.agreement["seed_agreement"] > 0
    asked = fitted_layouts([rows], near, settings("gpu", "cpu"), [0, 1])
    assert asked.places[0] == pytest.approx(result.places, abs=1e-3)


@pytest.mark.parametrize("source", OUT_OF_MEMORY)
def test_two_layouts_that_do_not_fit_are_made_one_by_one(source):
    rows, near = clustered(), neighbors([clustered()], 300, 10)
    with pretended_cuda() as log:
        refusal = log.refuse(source, "addcmul", call=5)
        made = fitted_layouts([rows], near, settings("gpu"), [0, 1])
        apart = [fitted_layouts([rows], near, settings("gpu"), [seed]).places[0] for seed in (0, 1)]
    assert refusal.raised == 1
    assert (made.engine, made.gpu_was_full) == ("gpu", False)
    assert np.array_equal(made.places, apart)


@pytest.mark.parametrize(
    ("source", "operation"),
    [*((source, "mm") for source in OUT_OF_MEMORY), ("torch", "sort"), ("torch", "addcmul")],
)
def test_a_gpu_without_memory_leaves_the_layout_to_the_cpu(source, operation, monkeypatch):
    monkeypatch.setattr(umap_layout, "CPU_UP_TO", 100)
    rows, near = clustered(), neighbors([clustered()], 300, 10)
    for engine, instead in (("auto", "parallel"), ("gpu", "gpu")):
        with pretended_cuda() as log:
            log.refuse(source, operation)
            made = fitted_layouts([rows], near, settings(engine), [0])
        assert (made.engine, made.gpu_was_full) == (instead, True)
        on_cpu = fitted_layouts([rows], near, settings(engine, "cpu"), [0])
        assert np.array_equal(made.places, on_cpu.places)


def test_another_error_is_not_taken_for_a_lack_of_memory(gpu):
    near = neighbors([clustered()], 300, 10)
    gpu.refuse(lambda: RuntimeError("an illegal memory access was encountered"), "addcmul")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        fitted_layouts([clustered()], near, settings("gpu"), [0, 1])


def test_a_run_says_that_the_gpu_was_full():
    step = SimpleNamespace(layer="mixed4", view="all")
    quality = {"num_distinct": 9, "largest_group": 1}
    for is_full, num_lines in ((True, 1), (False, 0)):
        made_by = {"engine": "parallel", "gpu_was_full": is_full}
        artefact = SimpleNamespace(num_rows=9, config={}, notes={"quality": quality, "made_by": made_by})
        remarks = list(PROJECT.remarks(step, artefact))
        assert len(remarks) == num_lines
        assert all("mixed4, all: the GPU's memory was too small" in line for line in remarks)
    assert UmapStepConfig in PROJECT.config
