"""Files that the viewer loads."""
