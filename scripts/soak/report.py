"""The report of a soak: a row for each kind of fault, and a one-line summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

HEADINGS = ["fault", "times", "the command ended with", "parts made again", "longest, fault to end, s"]


@dataclass
class Tally:
    """Counts for one kind of fault. codes: how often each exit code occurred; remade: parts made twice."""

    kind: str
    times: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    remade: int = 0
    longest_s: float = 0.0

    def add(self, codes: Iterable[int], seconds: float, remade: int) -> None:
        self.times += 1
        self.codes.update(codes)
        self.remade += remade
        self.longest_s = max(self.longest_s, seconds)

    def row(self) -> list[str]:
        ends = ", ".join(f"{code} ({count})" for code, count in sorted(self.codes.items()))
        return [self.kind, str(self.times), ends, str(self.remade), f"{self.longest_s:.1f}"]


def report(tallies: Collection[Tally], form: str, summary: str) -> str:
    """Format the tallies and the summary; form is "markdown" or "json"."""
    if form == "json":
        return json.dumps({"faults": [asdict(tally) for tally in tallies], "summary": summary}, indent=1)
    lines = [HEADINGS, ["---"] * len(HEADINGS), *(tally.row() for tally in tallies)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{summary}"


def last_line(soaked: Any, own_disk: bool) -> str:
    faults = sum(tally.times for tally in soaked.tallies.values())
    bad = Counter(line.split(": ")[1] for line in soaked.violations)
    return (
        f"{faults} faults: {bad['lost']} lost, {bad['twice']} twice, {bad['half-written']} half-written, "
        f"{len(soaked.violations)} broken promises; complete {soaked.num_equal} times, all "
        f"{len(soaked.expected)} files equal to the undisturbed ones. "
        f"Full disk: {'a tmpfs' if own_disk else 'a limit on the size of files'}."
    )
