"""Progress bars on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from .progress import Bar, duration, rate_text


class BarsReporter:
    """A bar a step: label, count, rate, time left; finished ones stay, with the time they took."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Count(),
            _Rate(),
            TimeElapsedColumn(),
            _Left(),
            console=Console(file=stream),
            refresh_per_second=4,
        )

    def bar(self, label: str, unit: str, *, total: int, done: int) -> Bar:
        task = self._progress.add_task(label, total=total, completed=done, unit=unit, before=done)
        return _Bar(self._progress, task)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, units: int) -> None:
        self._progress.advance(self._task, units)

    def close(self, finished: bool) -> None:
        self._progress.stop_task(self._task)


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{int(task.completed):,} of {int(task.total or 0):,} {task.fields['unit']}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        # At the end, and where a task in a hundred comes a minute, the mean since the start.
        mean = (task.completed - task.fields["before"]) / task.elapsed if task.elapsed else None
        return Text(rate_text(task.speed if task.speed and not task.finished else mean, task.fields["unit"]))


class _Left(ProgressColumn):
    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text("")
        return Text(f"{duration(task.time_remaining)} left")
