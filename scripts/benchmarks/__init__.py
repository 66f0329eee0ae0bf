"""Speed, memory and scaling: `python -m scripts.benchmarks.NAME`."""
