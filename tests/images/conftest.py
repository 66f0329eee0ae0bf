from __future__ import annotations

import sys
from pathlib import Path

# The helpers in making.py, for this folder's tests alone.
sys.path.insert(0, str(Path(__file__).parent))
