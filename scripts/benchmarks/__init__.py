"""Benchmarks of speed, memory and scaling: `python -m scripts.benchmarks.NAME`."""
