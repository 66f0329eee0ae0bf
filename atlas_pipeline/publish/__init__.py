"""The run folder: the files that people open, copied out of finished artefacts."""
