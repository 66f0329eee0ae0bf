"""Stages from activations to an atlas: selection, layout, cells, icons, picture."""
