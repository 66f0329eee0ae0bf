"""Stages that look at single units: values over the images, examples, icons, classes, weights, pages."""
