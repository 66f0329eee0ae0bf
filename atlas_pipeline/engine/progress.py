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
    from atlas_pipeline.engine.bars import BarsReporter

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
        return _PlainBar(self, Pace(label, unit, total, done))

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _PlainBar:
    def __init__(self, reporter: PlainReporter, pace: Pace) -> None:
        self._reporter, self._pace = reporter, pace
        self._said = time.monotonic()

    def advance(self, units: int) -> None:
        self._pace.done += units
        if time.monotonic() - self._said >= PLAIN_LINE_EVERY_S:
            self._said = time.monotonic()
            self._reporter.say(self._pace.line())

    def close(self, finished: bool) -> None:
        self._reporter.say(self._pace.last_line(finished))


class Pace:
    """How far one step is and how fast it goes, as text."""

    def __init__(self, label: str, unit: str, total: int, done: int) -> None:
        self.label, self.unit, self.total, self.done = label, unit, total, done
        self._before = done
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Units a second, of this run."""
        return (self.done - self._before) / max(self.seconds, 1e-9)

    def count(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.unit}"

    def left(self) -> str:
        return f"{duration((self.total - self.done) / self.rate)} left" if self.rate else ""

    def line(self) -> str:
        return ", ".join(filter(None, [self._begin(), self.left()]))

    def last_line(self, finished: bool) -> str:
        return f"{self._begin()}, {'done' if finished else 'stopped'} after {duration(self.seconds)}"

    def _begin(self) -> str:
        return f"{self.label}: {self.count()}, {rate_text(self.rate, self.unit)}"


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


def size_text(num_bytes: float) -> str:
    """``27.3 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
