"""The inversion engine beside its peers: `python -m scripts.benchmarks.inversion`."""
