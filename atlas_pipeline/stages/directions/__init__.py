"""Stages that take a layer's activations apart into atoms: fit, strengths, examples, cells, icons, pages."""
