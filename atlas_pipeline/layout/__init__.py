"""Layouts of activations: neighbour search, UMAP, t-SNE."""
