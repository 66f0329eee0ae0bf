"""The patch test of a class comparison: stages, pasting, statistics, figures."""
