"""How good the results are, and pictures for the docs: `python -m scripts.measurements.NAME`."""
