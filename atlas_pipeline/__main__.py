"""`python -m atlas_pipeline` is `atlas`."""

from atlas_pipeline.cli.main import main

main(prog_name="atlas")
