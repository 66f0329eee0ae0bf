"""The run folder: files for users, copied out of finished artefacts."""
