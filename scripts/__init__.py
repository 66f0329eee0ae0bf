"""Training, benchmarks, measurements and fault injection; run from the root of the repository."""
