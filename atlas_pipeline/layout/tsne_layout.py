"""t-SNE by scikit-learn, from a PCA start: for class atlases, and in one dimension for comparisons."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.pca import pca_start

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
    metric: Literal["cosine", "euclidean"],
    seed: int,
    num_dimensions: int = 2,
    perplexity: float = 30.0,
) -> NDArray[np.float32]:
    """A t-SNE layout (Barnes-Hut), the same for the same seed whatever the number of threads.

    Args:    activations: (activation, channel), finite. num_dimensions: 1 or 2. perplexity: see
             ``bearable_perplexity``.
    Returns: (activation, dimension), in no particular range; the start itself below 4 activations.
    Source:  van der Maaten 2014.
    """
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    start = pca_start([activations], num_dimensions, metric)
    if len(start) < _FEWEST_ROWS:
        return start
    spread = start[:, 0].std()
    tsne = TSNE(
        n_components=num_dimensions,
        perplexity=bearable_perplexity(perplexity, len(start)),
        init=start * (_START_STD / spread) if spread > 0 else "random",
        random_state=np.random.RandomState(np.random.PCG64(seed)),
    )
    vectors = activations.astype(np.float32)
    # Unit vectors, not metric="cosine": squares of distances are compared, and 2 (1 - cos) is such a square.
    vectors = normalize(vectors) if metric == "cosine" else vectors
    # Its threads add to one sum in the order they end, which rounds; one thread gives one result.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(vectors)
