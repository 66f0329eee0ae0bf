"""The `atlas` command: it parses options, makes one call, and prints a table or a path."""
