"""The config: its sections, loading from YAML, and the wording of its error messages."""
