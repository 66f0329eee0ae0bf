"""Images: listing, decoding, metadata."""
