"""Entry point of `python -m scripts.soak`."""

import sys

from scripts.soak.run import main

if __name__ == "__main__":
    sys.exit(main())
