"""The work of the commands: turn a config into steps, check their needs, run the missing ones."""
