"""Files shipped with the package: inside it in a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped(folder: str, suffix: str) -> dict[str, Path]:
    """Files by name without suffix, from the folder ``pipelines`` (.py) or ``configs`` (.yaml)."""
    places = (PACKAGE / folder, PACKAGE.parent / folder)
    return {path.stem: path for place in places for path in sorted(place.glob(f"*{suffix}"))}
