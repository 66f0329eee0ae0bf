"""Stages that write the files of the viewer."""
