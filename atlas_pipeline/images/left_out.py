"""Files that a listing leaves out because they are no images: counted, and named with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

MAX_NAMED = 10  # names kept per reason
MAX_KINDS = 40  # further kinds are counted together
MAX_IN_LINE = 4
MAX_NAMED_IN_LINE = 2
MAX_NAME = 60
OTHER_KINDS = "other kinds"


class LeftOut:
    """Counts of files beside the images.

    Companions belong to images (labels, captions, hidden files) and are counted by kind. Other files are
    counted by the reason why they are no images, and the first few of each reason are named.
    """

    def __init__(self) -> None:
        self.companions: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {}

    def companion(self, kind: str) -> None:
        """Count a companion."""
        known = kind in self.companions or len(self.companions) < MAX_KINDS
        self.companions[kind if known else OTHER_KINDS] += 1

    def other(self, reason: str, name: str) -> None:
        """Count a file that the reader should know about."""
        if reason not in self.counts and len(self.counts) >= MAX_KINDS:
            reason = OTHER_KINDS
        self.counts[reason] += 1
        names = self.names.setdefault(reason, [])
        if len(names) < MAX_NAMED:
            names.append(name)

    def add(self, more: LeftOut) -> None:
        """Add the counts of ``more``."""
        self.companions += more.companions
        self.counts += more.counts
        for reason, names in more.names.items():
            self.names[reason] = (self.names.get(reason, []) + names)[:MAX_NAMED]

    def __len__(self) -> int:
        return self.companions.total() + self.counts.total()

    def notes(self) -> dict[str, Any]:
        """JSON-able: ``companions`` by kind; ``left_out`` by reason, with ``num`` and ``names``."""
        return {
            "companions": dict(_commonest_first(self.companions)),
            "left_out": [
                {"reason": reason, "num": num, "names": self.names[reason]}
                for reason, num in _commonest_first(self.counts)
            ],
        }


def _commonest_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def left_out_line(notes: Mapping[str, Any]) -> str | None:
    """A line for the end of a run; None if nothing but companions was left out.

    Args: notes: made by ``LeftOut.notes``.
    """
    groups = notes.get("left_out", ())
    if not groups:
        return None
    num = sum(group["num"] for group in groups)
    shown = [_shown(group) for group in groups[:MAX_IN_LINE]]
    if len(groups) > MAX_IN_LINE:
        shown.append(f"{sum(group['num'] for group in groups[MAX_IN_LINE:]):,} more")
    line = f"{num:,} {'entry' if num == 1 else 'entries'} of images.path left out: {'; '.join(shown)}"
    if companions := sum(notes["companions"].values()):
        kinds = ", ".join(list(notes["companions"])[:MAX_IN_LINE])
        what = "companion" if companions == 1 else "companions"
        line += f"; not counting {companions:,} {what} ({kinds})"
    return f"{line}. index's manifest names them"


def _shown(group: Mapping[str, Any]) -> str:
    names = ", ".join(f"'{name[-MAX_NAME:]}'" for name in group["names"][:MAX_NAMED_IN_LINE])
    more = ", ..." if group["num"] > MAX_NAMED_IN_LINE else ""
    return f"{group['num']:,} {group['reason']} ({names}{more})"
