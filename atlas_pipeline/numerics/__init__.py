"""Pure numeric functions: arrays in, arrays out."""
