"""One row of a network's check, and how a failure of the network's own code becomes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from atlas_pipeline.errors import AtlasError
from atlas_pipeline.models.out_of_memory import is_out_of_memory

Verdict = Literal["ok", "note", "fails"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One finding.

    layer: "" for the whole network. value: the measured number, or None. said: one line of text. verdict:
    "note" informs the reader; "fails" makes an atlas impossible or wrong.
    """

    layer: str
    check: str
    verdict: Verdict
    value: float | None = None
    said: str


def guarded(layer: str, check: str, measure: Callable[[], Any], remedy: str = "") -> list[Row]:
    """The row or rows that ``measure`` returns (None: no row), or a failed row with the error that it raised.

    Raises: torch.OutOfMemoryError, MemoryError: the network is not to blame for these.
    """
    try:
        found = measure()
    except MemoryError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        words = reason(error)
        said = words if isinstance(error, AtlasError) or not remedy else f"{words}; {remedy}"
        return [Row(layer=layer, check=check, verdict="fails", said=said)]
    return [found] if isinstance(found, Row) else list(found or ())


def reason(error: BaseException) -> str:
    """An error in one line; our own errors keep their text."""
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    if isinstance(error, AtlasError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def percent(share: float) -> str:
    """``0.031`` -> ``3.1 %``."""
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def agreement(apart: float) -> str:
    """How well two things agree whose relative difference is ``apart``."""
    return f"agree to {apart:.0e}" if apart else "agree exactly"
