import numpy as np
import pytest

from atlas_pipeline.layout.tsne_layout import tsne_layout


def two_groups(num_rows=80):
    rng = np.random.default_rng(0)
    rows = rng.random((num_rows, 6)) * 0.2
    rows[: num_rows // 2, :3] += 1
    rows[num_rows // 2 :, 3:] += 1
    return rows.astype(np.float16)


@pytest.mark.parametrize("num_dimensions", [1, 2])
def test_groups_fall_apart_and_the_seed_decides(num_dimensions):
    rows = two_groups()
    layout = tsne_layout(rows, "cosine", seed=0, num_dimensions=num_dimensions, perplexity=15)
    assert layout.shape == (80, num_dimensions)
    assert layout.dtype == np.float32
    centres = layout[:40].mean(axis=0), layout[40:].mean(axis=0)
    own = np.linalg.norm(layout - np.repeat(centres, 40, axis=0), axis=1)
    other = np.linalg.norm(layout - np.repeat(centres[::-1], 40, axis=0), axis=1)
    assert (own < other).mean() > 0.95
    assert np.array_equal(layout, tsne_layout(rows, "cosine", 0, num_dimensions, perplexity=15))


def test_cosine_does_not_see_the_strength():
    rows = two_groups(40).astype(np.float32)
    powers_of_two = 2.0 ** np.random.default_rng(1).integers(-3, 4, (40, 1))
    stronger = (rows * powers_of_two).astype(np.float32)
    assert tsne_layout(stronger, "cosine", 0) == pytest.approx(tsne_layout(rows, "cosine", 0), abs=1e-3)


@pytest.mark.parametrize("num_rows", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("num_dimensions", [1, 2])
def test_tiny_inputs(num_rows, num_dimensions):
    layout = tsne_layout(two_groups(10)[:num_rows], "euclidean", 0, num_dimensions)
    assert layout.shape == (num_rows, num_dimensions)
    assert np.isfinite(layout).all()


def test_activations_all_the_same():
    assert np.isfinite(tsne_layout(np.ones((20, 3), np.float32), "cosine", 0)).all()
