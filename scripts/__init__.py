"""Training of the small networks, benchmarks, measurements and the soak; run from the repository's root."""
