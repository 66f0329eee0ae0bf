"""Stages from images to activations: index, check, sample, crops."""
