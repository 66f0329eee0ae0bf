"""Tables of artefacts as arrays, files and images, and back."""
