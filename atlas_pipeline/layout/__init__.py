"""Layouts of activations: neighbours, UMAP, t-SNE."""
