"""Pictures of a layout or of one class."""
