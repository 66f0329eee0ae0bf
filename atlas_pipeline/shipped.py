"""Files that come with the package: in the wheel they lie inside it, in a checkout beside it."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped(folder: str, suffix: str) -> dict[str, Path]:
    """Name without suffix -> file, of ``pipelines`` (.py) or ``configs`` (.yaml)."""
    places = (PACKAGE / folder, PACKAGE.parent / folder)
    return {path.stem: path for place in places for path in sorted(place.glob(f"*{suffix}"))}
