"""What a run tells while it works: a bar a step on a terminal (bars.py), plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

PLAIN_LINE_EVERY_S = 5.0


class Bar(Protocol):
    """The progress of one step (or of siblings), in units."""

    def advance(self, units: int) -> None: ...

    def close(self, finished: bool) -> None:
        """No more comes; finished: because all is done."""


class Reporter(Protocol):
    """Who hears of the progress."""

    def bar(self, label: str, unit: str, *, total: int, done: int) -> Bar:
        """A step begins. done: of the total, what earlier runs did."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_reporter(*, quiet: bool = False, stream: TextIO | None = None) -> Reporter:
    """Bars on a terminal, plain lines elsewhere, nothing when quiet. stream: None is stderr."""
    stream = stream or sys.stderr
    if quiet:
        return SilentReporter()
    if not stream.isatty():
        return PlainReporter(stream)
    from .bars import BarsReporter

    return BarsReporter(stream)


class SilentBar:
    """For who does not want to know."""

    def advance(self, units: int) -> None:
        pass

    def close(self, finished: bool) -> None:
        pass


class SilentReporter:
    """Says nothing."""

    def bar(self, label: str, unit: str, *, total: int, done: int) -> Bar:
        return SilentBar()

    def say(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class PlainReporter(SilentReporter):
    """Lines for logs: every few seconds, and one at the end of each step."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def bar(self, label: str, unit: str, *, total: int, done: int) -> Bar:
        return _PlainBar(self, label, unit, total, done)

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _PlainBar:
    def __init__(self, reporter: PlainReporter, label: str, unit: str, total: int, done: int) -> None:
        self._reporter, self._label, self._unit, self._total = reporter, label, unit, total
        self._before, self._done = done, done
        self._started = self._said = time.monotonic()

    def advance(self, units: int) -> None:
        self._done += units
        now = time.monotonic()
        if now - self._said >= PLAIN_LINE_EVERY_S:
            self._said = now
            rate = self._rate(now)
            left = f", {duration((self._total - self._done) / rate)} left" if rate else ""
            self._reporter.say(f"{self._count()}, {rate_text(rate, self._unit)}{left}")

    def close(self, finished: bool) -> None:
        now = time.monotonic()
        end = "done" if finished else "stopped"
        rate = rate_text(self._rate(now), self._unit)
        self._reporter.say(f"{self._count()}, {rate}, {end} after {duration(now - self._started)}")

    def _count(self) -> str:
        return f"{self._label}: {self._done:,} of {self._total:,} {self._unit}"

    def _rate(self, now: float) -> float:
        return (self._done - self._before) / max(now - self._started, 1e-9)


def rate_text(per_s: float | None, unit: str) -> str:
    """``312 images/s``, ``0.42 icons/s``."""
    if not per_s:
        return f"- {unit}/s"
    return f"{per_s:,.0f} {unit}/s" if per_s >= 10 else f"{per_s:.2g} {unit}/s"


def duration(seconds: float) -> str:
    """``0:42``, ``1:05:09``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
