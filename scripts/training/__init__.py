"""Train the small networks: `python -m scripts.training.NAME`."""
