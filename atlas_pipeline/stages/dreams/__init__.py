"""Dreams of layers: pictures made from the network alone."""
