"""The viewer: its page, its scripts, and the files that they load."""
