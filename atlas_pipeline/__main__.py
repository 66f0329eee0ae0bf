"""`python -m atlas_pipeline` is `atlas`."""

from atlas_pipeline.cli import main

main(prog_name="atlas")
