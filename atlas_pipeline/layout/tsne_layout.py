"""t-SNE by scikit-learn from a PCA start: for class atlases, and in one dimension for comparisons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import distinct, read_vectors, separate_equal
from atlas_pipeline.layout.pca import pca_start
from atlas_pipeline.numerics.near_rows import Metric

# scikit-learn's value for a PCA start: with a larger one the early exaggeration splits clusters.
_START_STD = 1e-4
_MIN_ROWS = 4


def effective_perplexity(perplexity: float, num_rows: int) -> float:
    """The requested perplexity, limited to a third of the other activations.

    t-SNE weights about three times as many neighbours as its perplexity.
    """
    return max(0.0, min(perplexity, (num_rows - 1) / 3))


def tsne_layout(
    activations: NDArray[np.floating],
    metric: Metric,
    seed: int,
    num_dimensions: int = 2,
    perplexity: float = 30.0,
) -> NDArray[np.float32]:
    """Lay out every activation by t-SNE (Barnes-Hut); equal activations are one vertex and lie together.

    Args:    activations: (activation, channel), finite. Other arguments: as in ``tsne_of_vectors``.
    Returns: (activation, dimension), in any range.
    """
    same = distinct([activations], metric, seed)
    vectors = read_vectors([activations], same.rows, metric)
    return separate_equal(tsne_of_vectors(vectors, metric, seed, num_dimensions, perplexity), same, seed)


def tsne_of_vectors(
    vectors: NDArray[np.float32],
    metric: Metric,
    seed: int,
    num_dimensions: int = 2,
    perplexity: float = 30.0,
) -> NDArray[np.float32]:
    """Lay out vectors by t-SNE (Barnes-Hut); the same seed gives the same layout for any number of threads.

    Args:    vectors: (vertex, channel), finite, all different, in an order that does not depend on row
             numbers (``distinct``). num_dimensions: 1 or 2. perplexity: see ``effective_perplexity``.
    Returns: (vertex, dimension), in any range; the start itself below 4 vertices.
    Source:  van der Maaten 2014.
    """
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    start = pca_start([vectors], num_dimensions, metric)
    if len(start) < _MIN_ROWS:
        return start
    deviation = start[:, 0].std()
    tsne = TSNE(
        n_components=num_dimensions,
        perplexity=effective_perplexity(perplexity, len(start)),
        init=start * (_START_STD / deviation) if deviation > 0 else "random",
        random_state=np.random.RandomState(np.random.PCG64(seed)),
    )
    # Normalise instead of metric="cosine": t-SNE squares distances, and 2 (1 - cos) is a squared distance.
    compared = normalize(vectors) if metric == "cosine" else vectors
    # With several threads the order of summation varies, and so does the rounding; one thread is repeatable.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(compared)
