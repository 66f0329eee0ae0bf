"""t-SNE by scikit-learn, from a PCA start: for class atlases, and in one dimension for comparisons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import distinct, spread, vectors_of
from atlas_pipeline.layout.pca import pca_start
from atlas_pipeline.numerics.near_rows import Metric

# scikit-learn's own for a PCA start: small, or the early exaggeration tears clusters apart.
_START_STD = 1e-4
_FEWEST_ROWS = 4


def bearable_perplexity(perplexity: float, num_rows: int) -> float:
    """The perplexity asked for, or a third of the other activations where that is less.

    t-SNE weighs about three times as many neighbours as its perplexity says.
    """
    return max(0.0, min(perplexity, (num_rows - 1) / 3))


def tsne_layout(
    activations: NDArray[np.floating],
    metric: Metric,
    seed: int,
    num_dimensions: int = 2,
    perplexity: float = 30.0,
) -> NDArray[np.float32]:
    """A t-SNE layout (Barnes-Hut) of every activation: equal ones are laid out as one, and lie together.

    Args:    activations: (activation, channel), finite. The others as for ``tsne_of_vectors``.
    Returns: (activation, dimension), in no particular range.
    """
    same = distinct([activations], metric, seed)
    vectors = vectors_of([activations], same.rows, metric)
    return spread(tsne_of_vectors(vectors, metric, seed, num_dimensions, perplexity), same, seed)


def tsne_of_vectors(
    vectors: NDArray[np.float32],
    metric: Metric,
    seed: int,
    num_dimensions: int = 2,
    perplexity: float = 30.0,
) -> NDArray[np.float32]:
    """A t-SNE layout (Barnes-Hut), the same for the same seed whatever the number of threads.

    Args:    vectors: (vertex, channel), finite, no two equal, in an order that no row number decides
             (``distinct``). num_dimensions: 1 or 2. perplexity: see ``bearable_perplexity``.
    Returns: (vertex, dimension), in no particular range; the start itself below 4 vertices.
    Source:  van der Maaten 2014.
    """
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    start = pca_start([vectors], num_dimensions, metric)
    if len(start) < _FEWEST_ROWS:
        return start
    deviation = start[:, 0].std()
    tsne = TSNE(
        n_components=num_dimensions,
        perplexity=bearable_perplexity(perplexity, len(start)),
        init=start * (_START_STD / deviation) if deviation > 0 else "random",
        random_state=np.random.RandomState(np.random.PCG64(seed)),
    )
    # Unit vectors, not metric="cosine": squares of distances are compared, and 2 (1 - cos) is such a square.
    compared = normalize(vectors) if metric == "cosine" else vectors
    # Its threads add to one sum in the order they end, which rounds; one thread gives one result.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(compared)
