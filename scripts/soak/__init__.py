"""Inject real faults into real runs: `python -m scripts.soak`."""
