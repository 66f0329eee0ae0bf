"""The same activations by umap-learn and by the parallel engine, side by side: docs/images/layouts.png.

uv run python scripts/draw_layouts.py CPU.npy PARALLEL.npy CLUSTERS.npy OUTPUT.png
"""

import sys

import numpy as np
from PIL import Image

from atlas_pipeline.numerics.normalise import normalise_layout
from atlas_pipeline.viewer.layout_pictures import scatter_plot

SIZE_PX = 480


def side_by_side(layouts: list[np.ndarray], clusters: np.ndarray) -> Image.Image:
    """Scatter plots in the colours of the clusters, a white margin between them."""
    plots = [scatter_plot(normalise_layout(layout), clusters, size_px=SIZE_PX) for layout in layouts]
    margin = np.full((SIZE_PX, 16, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([plots[0], margin, plots[1]], axis=1))


if __name__ == "__main__":
    *matrices, output = sys.argv[1:]
    first, second, labels = (np.load(path) for path in matrices)
    side_by_side([first, second], labels).quantize(128).save(output, optimize=True)
