"""Measurements of the quality of results, and figures for the docs: `python -m scripts.measurements.NAME`."""
