"""Benchmark the inversion engine against its peers: `python -m scripts.benchmarks.inversion`."""
