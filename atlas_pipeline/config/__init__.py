"""The config: its sections, reading a YAML file, and one wording for every mistake."""
