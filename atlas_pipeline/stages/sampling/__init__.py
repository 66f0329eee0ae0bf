"""From images to activations."""
