"""The results of a patch test as a Markdown table for readers and as CSV rows for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_pipeline.numerics.rates import Rate
from atlas_pipeline.patch_test.summary import KindSummary

NAMES = {"icon": "icon", "crop": "dataset crop", "noise": "noise", "random": "random cell"}


def headings(left: str, right: str) -> list[str]:
    """The headings of the summary's columns."""
    return [
        "patch",
        "patches",
        f"becomes {right}",
        f"leaves {left}",
        f"becomes {right}, best place of each image",
        "one place, found on other images",
        "best patch",
    ]


def summary_row(summary: KindSummary, patches: Sequence[str], places: Sequence[str]) -> list[str]:
    """The row of one kind: percentages with 95 % intervals in brackets.

    Args: patches, places: names of the kind's patches and of all places.
    """
    return [
        NAMES[summary.kind],
        str(summary.num_patches),
        *(percent(rate) for rate in (summary.becomes, summary.leaves, summary.best, summary.held_out)),
        f"{percent(summary.top)}: {patches[summary.top_patch]}, {places[summary.top_place]}",
    ]


def percent(rate: Rate) -> str:
    """A rate with its interval, such as ``37.0 % (31.2 to 43.1)``."""
    return f"{100 * rate.mean:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def points(difference: Rate) -> str:
    """A difference of rates with its interval, such as ``+12.3 points (+8.1 to +16.0)``."""
    mean, low, high = (f"{100 * value:+.1f}" for value in difference)
    return f"{mean} points ({low} to {high})"


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A Markdown page with a title, a table and a caption."""
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"# {title}\n\n{table}\n\n{caption}\n"


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV text of rows with equal keys; the keys are the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
