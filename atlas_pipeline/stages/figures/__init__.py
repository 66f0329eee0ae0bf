"""Stages that draw figures of a layout or of one class."""
