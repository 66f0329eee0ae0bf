"""The springs between layers, computed by hand."""

import numpy as np
import scipy.sparse

from atlas_pipeline.layout.springs import Alignment, Spring, apply_springs, build_springs, shared_neighbors
from atlas_pipeline.layout.umap_edges import build_edges


def random_graph(seed, num_rows=40):
    graph = scipy.sparse.random(num_rows, num_rows, 0.15, "csr", np.float32, random_state=seed)
    return (graph + graph.T).tocsr()


def test_the_share_of_common_neighbours_by_hand():
    """umap-learn's build_neighborhood_similarities was compared once and agrees; it is slow to compile."""
    graphs = [random_graph(seed) for seed in (1, 2)]
    for row, share in enumerate(shared_neighbors(*graphs)):
        one, other = (set(graph[row].indices) for graph in graphs)
        assert share == len(one & other) / len(one | other)


def test_one_without_neighbours_in_either_is_held_fast():
    empty = scipy.sparse.csr_matrix((3, 3), dtype=np.float32)
    assert shared_neighbors(empty, empty).tolist() == [1, 1, 1]


def test_springs_reach_as_far_as_the_window_and_fade_by_e():
    graphs = [random_graph(3)] * 4
    edges = [build_edges(graph, 100) for graph in graphs]
    itself, held = [np.arange(40)] * 4, Alignment(regularisation=0.5, window_size=2)
    springs = build_springs(itself, graphs, edges, itself, held)
    reach = [[spring.other for spring in of_layer] for of_layer in springs]
    assert reach == [[1, 2], [0, 2, 3], [0, 1, 3], [1, 2]]
    near, far = springs[0]
    assert np.allclose(far.strength, near.strength / np.e)
    # All layers have one graph. Each due edge pulls both ends once and pushes its head five more times.
    heaviest = graphs[0].data.max()
    assert np.allclose(near.strength[:, 0], 0.5 * 7 * graphs[0].sum(axis=1).A1 / heaviest, rtol=1e-2)


def test_rows_of_one_image_are_found_by_their_ids():
    graphs = [random_graph(3, 4), random_graph(4, 3)]
    edges = [build_edges(graph, 100) for graph in graphs]
    ids = [np.array([5, 8, 2, 9]), np.array([9, 7, 5])]
    representatives = [np.arange(4), np.arange(3)]
    (spring,), (back,) = build_springs(
        ids, graphs, edges, representatives, Alignment(regularisation=1, window_size=1)
    )
    assert ids[0][spring.rows].tolist() == ids[1][spring.other_rows].tolist() == [5, 9]
    assert (back.rows.tolist(), back.other_rows.tolist()) == (
        spring.other_rows.tolist(),
        spring.rows.tolist(),
    )


def test_a_pull_goes_to_the_weighted_mean_one_layer_after_the_other():
    both = np.array([0, 1])
    strength = np.array([[1], [0]], np.float32)
    springs = [[Spring(1, both, both, strength)], [Spring(0, both, both, strength)]]
    layouts = [np.zeros((2, 2), np.float32), np.full((2, 2), 6, np.float32)]
    apply_springs(springs, layouts, step=0.5)
    # (0 + 0.5 * 6) / 1.5 = 2, then (6 + 0.5 * 2) / 1.5: the second layer uses the first one's new place.
    assert np.allclose(layouts[0], [[2, 2], [0, 0]])
    assert np.allclose(layouts[1], [[14 / 3, 14 / 3], [6, 6]])


def test_however_strong_two_meet_and_do_not_change_places():
    one = np.array([0])
    springs = [[Spring(other, one, one, np.array([[1e6]], np.float32))] for other in (1, 0)]
    layouts = [np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)]
    apply_springs(springs, layouts, step=1)
    assert np.abs(layouts[0] - layouts[1]).max() < 1e-5
