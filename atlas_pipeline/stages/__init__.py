"""The stages: one kind of work a file."""

WITH_A_LAYOUT = ("project", "bin", "invert", "stitch")
"""Commands that also bring up to date what is shown of a layout, with or without icons."""
