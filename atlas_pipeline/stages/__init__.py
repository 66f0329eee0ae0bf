"""The stages: one kind of work a file."""
