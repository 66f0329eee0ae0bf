"""The viewer: its page, its scripts, and the data files that they load."""
