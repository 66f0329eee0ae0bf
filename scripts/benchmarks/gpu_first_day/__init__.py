"""The first day of a GPU machine: is it right there, and how fast? One command, ten minutes, no network."""
