"""The `atlas` command: options in, one call, a table or a path out."""
