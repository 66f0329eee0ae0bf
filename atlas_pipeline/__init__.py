"""Activation atlases of your own vision network on your own images."""

__version__ = "0.1.0"
