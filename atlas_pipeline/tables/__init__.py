"""Conversions between the tables of artefacts and arrays, files and images."""
