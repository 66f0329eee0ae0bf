"""The progress of one step as text: how much is done, how fast, how long it will take."""

from __future__ import annotations

import time
from collections import deque

# A rate over fewer units says nothing: a listing is one unit, whatever it takes.
_LEAST_UNITS = 5
# The time left rests on the rate of the last two minutes, or of the last reports if these are rare: a slow
# start, or a process that was suspended, is forgotten.
_RECENT_S, _RECENT_REPORTS = 120.0, 8


class StepProgress:
    """Progress and rate of one step, or of steps that compute together, as text.

    Units may be reported in fractions, such as the steps of an optimisation. The progress is then shown in
    percent, because no unit may be finished yet.
    """

    def __init__(
        self, label: str, unit: str, total: int, done: int, stage: str = "", num_steps: int = 1
    ) -> None:
        self.label, self.unit, self.total = label, unit, total
        self.stage, self.num_steps = stage, num_steps
        self.done: float = done
        self._done_before = done
        self._last_units = 0.0
        self._in_percent = False
        self.begin()

    def begin(self) -> None:
        """Start the clock: the step may have waited for workers."""
        self._started = self._reported = time.monotonic()
        self._recent = deque([(self._started, self.done)])

    def add(self, units: float) -> None:
        """Count units that are done."""
        if not units:
            return
        self._in_percent |= units != int(units)
        self.done += units
        self._last_units, self._reported = units, time.monotonic()
        if self._reported - self._recent[-1][0] >= 1:
            self._recent.append((self._reported, self.done))
        while len(self._recent) > _RECENT_REPORTS and self._recent[1][0] <= self._reported - _RECENT_S:
            self._recent.popleft()

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Units per second in the last two minutes before the last report, or in the last reports."""
        since, done = self._recent[0]
        return (self.done - done) / max(self._reported - since, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest will take; None before the first report.

        It counts down between two reports, but not beyond the time at which the next one is due.
        """
        if self.done == self._done_before:
            return None
        left = max(0.0, self.total - self.done)
        due = max(0.0, left - self._last_units)
        return max(due / self.rate, left / self.rate - (time.monotonic() - self._reported))

    def count(self) -> str:
        """How much is done: ``12 of 83 rows``, ``14 % of 83 icons``; "" for a step of one unit."""
        if self.total <= 1:
            return ""
        # Fractions add up to the total only nearly.
        if self._in_percent and self.total - self.done > 1e-6:
            return f"{100 * self.done / self.total:.0f} % of {self.total:,} {self.unit}"
        return f"{self.done:,.0f} of {self.total:,} {self.unit}"

    def speed(self) -> str:
        """The rate of the last minutes: ``312 images/s``; "" if it would say nothing."""
        return self._rate_text(self.rate)

    def _rate_text(self, per_s: float) -> str:
        is_few = self.total <= 1 or self.done - self._done_before < _LEAST_UNITS
        return "" if is_few else rate_text(per_s, self.unit)

    def left(self) -> str:
        """The time left; before the first report, the time that the step has taken."""
        seconds = self.seconds_left
        return f"for {duration(self.seconds)}" if seconds is None else f"{duration(seconds)} left"

    def line(self) -> str:
        """``sample mixed4: 10,000 of 20,000 images, 1,000 images/s, 0:10 left``."""
        return _sentence(self.label, self.count(), self.speed(), self.left())

    def last_line(self, finished: bool) -> str:
        """``sample mixed4: 20,000 of 20,000 images, 1,000 images/s, done after 0:20``."""
        end = f"{'done' if finished else 'stopped'} after {duration(self.seconds)}"
        whole = (self.done - self._done_before) / max(self._reported - self._started, 1e-9)
        return _sentence(self.label, self.count(), self._rate_text(whole), end)


def _sentence(label: str, *parts: str) -> str:
    return f"{label}: {', '.join(filter(None, parts))}"


def rate_text(per_s: float, unit: str) -> str:
    """Format a rate: ``312 images/s``, ``0.42 icons/s``."""
    return f"{per_s:,.0f} {unit}/s" if per_s >= 10 else f"{per_s:.2g} {unit}/s"


def duration(seconds: float) -> str:
    """Format a duration: ``0:42``, ``1:05:09``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
