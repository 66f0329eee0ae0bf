"""Real runs hit by real faults: `python -m scripts.soak`."""
