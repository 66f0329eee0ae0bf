"""The stages of the pipelines: one kind of work per file."""

LAYOUT_COMMANDS = ("project", "bin", "invert", "stitch")
"""Commands that also update the outputs drawn from a layout alone, which need no icons."""
