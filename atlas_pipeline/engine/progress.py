"""Progress messages of a run: bars on a terminal (bars.py), plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self, TextIO

from atlas_pipeline.engine.run_progress import RunProgress
from atlas_pipeline.engine.step_progress import StepProgress

PLAIN_LINE_EVERY_S = 5.0


class Bar(Protocol):
    """Progress of one step (or of siblings), in units."""

    def advance(self, units: float) -> None:
        """Report units that are done; the first report, which may be of 0 units, says that the work began."""

    def close(self, finished: bool) -> None:
        """End the bar. finished: whether all work is done."""


class Reporter(Protocol):
    """Receives the progress of a run."""

    def expect(self, stages: Sequence[str]) -> None:
        """The stages of all steps that the run will make; a stage is named once for each of its steps."""

    def bar(
        self, label: str, unit: str, *, total: int, done: int, stage: str = "", num_steps: int = 1
    ) -> Bar:
        """The bar of steps that wait for their first task.

        done: units of earlier runs, out of total. num_steps: number of steps that compute together.
        """

    def say(self, text: str) -> None:
        """Print one line for the user."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SilentBar:
    """A bar that shows nothing."""

    def advance(self, units: float) -> None:
        pass

    def close(self, finished: bool) -> None:
        pass


class SilentReporter:
    """A reporter that prints nothing."""

    def expect(self, stages: Sequence[str]) -> None:
        pass

    def bar(
        self, label: str, unit: str, *, total: int, done: int, stage: str = "", num_steps: int = 1
    ) -> Bar:
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
        self.run = RunProgress()

    def expect(self, stages: Sequence[str]) -> None:
        self.run.expect(stages)

    def bar(
        self, label: str, unit: str, *, total: int, done: int, stage: str = "", num_steps: int = 1
    ) -> Bar:
        return _PlainBar(self, StepProgress(label, unit, total, done, stage, num_steps))

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _PlainBar:
    def __init__(self, reporter: PlainReporter, step: StepProgress) -> None:
        self._reporter, self._step = reporter, step
        self._last_line_at: float | None = None

    def advance(self, units: float) -> None:
        if self._last_line_at is None:
            self._last_line_at = time.monotonic()
            self._reporter.run.begin(self._step)
        self._step.add(units)
        every_s = PLAIN_LINE_EVERY_S * self._reporter.run.num_running
        if units and time.monotonic() - self._last_line_at >= every_s:
            self._last_line_at = time.monotonic()
            self._reporter.say("; ".join(filter(None, [self._step.line(), self._reporter.run.line()])))

    def close(self, finished: bool) -> None:
        self._reporter.run.end(self._step, finished)
        self._reporter.say(self._step.last_line(finished))


def size_text(num_bytes: float) -> str:
    """Format a size: ``27.3 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
