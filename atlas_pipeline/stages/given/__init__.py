"""Stages of pictures given by path: activations, attributions, places on the atlas, groups, pages."""
