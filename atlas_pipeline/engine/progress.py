"""Progress messages of a run: bars on a terminal (bars.py), plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self, TextIO

PLAIN_LINE_EVERY_S = 5.0


class Bar(Protocol):
    """Progress of one step (or of siblings), in units."""

    def advance(self, units: int) -> None:
        """Report units that are done; the first report, which may be of 0 units, says that the work began."""

    def close(self, finished: bool) -> None:
        """End the bar. finished: whether all work is done."""


class Reporter(Protocol):
    """Receives the progress of a run."""

    def bar(self, label: str, unit: str, *, total: int, done: int) -> Bar:
        """The bar of a step that waits for its first task. done: units of earlier runs, out of total."""

    def say(self, text: str) -> None:
        """Print one line for the user."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SilentBar:
    """A bar that shows nothing."""

    def advance(self, units: int) -> None:
        pass

    def close(self, finished: bool) -> None:
        pass


class SilentReporter:
    """A reporter that prints nothing."""

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
    """Prints lines for logs: one every few seconds, and one at the end of each step.

    Steps that run at the same time take turns.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.num_running = 0

    def bar(self, label: str, unit: str, *, total: int, done: int) -> Bar:
        return _PlainBar(self, StepProgress(label, unit, total, done))

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _PlainBar:
    def __init__(self, reporter: PlainReporter, step: StepProgress) -> None:
        self._reporter, self._step = reporter, step
        self._last_line_at: float | None = None

    def advance(self, units: int) -> None:
        if self._last_line_at is None:
            self._step.begin()
            self._last_line_at = time.monotonic()
            self._reporter.num_running += 1
        self._step.done += units
        every_s = PLAIN_LINE_EVERY_S * self._reporter.num_running
        if units and time.monotonic() - self._last_line_at >= every_s:
            self._last_line_at = time.monotonic()
            self._reporter.say(self._step.line())

    def close(self, finished: bool) -> None:
        if self._last_line_at is not None:
            self._reporter.num_running -= 1
        self._reporter.say(self._step.last_line(finished))


class StepProgress:
    """Progress and rate of one step, as text."""

    def __init__(self, label: str, unit: str, total: int, done: int) -> None:
        self.label, self.unit, self.total, self.done = label, unit, total, done
        self._done_before = done
        self._started = time.monotonic()

    def begin(self) -> None:
        """Start the clock: the step may have waited for workers."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Units per second in this run."""
        return (self.done - self._done_before) / max(self.seconds, 1e-9)

    def count(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.unit}"

    def left(self) -> str:
        return f"{duration((self.total - self.done) / self.rate)} left" if self.rate else ""

    def line(self) -> str:
        return ", ".join(filter(None, [self._beginning(), self.left()]))

    def last_line(self, finished: bool) -> str:
        return f"{self._beginning()}, {'done' if finished else 'stopped'} after {duration(self.seconds)}"

    def _beginning(self) -> str:
        return f"{self.label}: {self.count()}, {rate_text(self.rate, self.unit)}"


def rate_text(per_s: float | None, unit: str) -> str:
    """Format a rate: ``312 images/s``, ``0.42 icons/s``."""
    if not per_s:
        return f"- {unit}/s"
    return f"{per_s:,.0f} {unit}/s" if per_s >= 10 else f"{per_s:.2g} {unit}/s"


def duration(seconds: float) -> str:
    """Format a duration: ``0:42``, ``1:05:09``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size_text(num_bytes: float) -> str:
    """Format a size: ``27.3 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
