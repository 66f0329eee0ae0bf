"""Drawing: arrays in, pixels or PNG files out."""
