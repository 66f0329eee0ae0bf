"""Progress bars on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from atlas_pipeline.engine.progress import Bar, StepProgress, rate_text


class BarsReporter:
    """One bar per running step: label, count, rate, time left. A step that waits for a worker has none yet.

    A step that ends becomes a line above the bars, so that a run of many steps fits on any screen.
    """

    def __init__(self, stream: TextIO) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), _RateColumn())
        self._progress = Progress(*columns, console=Console(file=stream), refresh_per_second=4)

    def bar(self, label: str, unit: str, *, total: int, done: int) -> Bar:
        return _Bar(self._progress, StepProgress(label, unit, total, done))

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
    def __init__(self, progress: Progress, step: StepProgress) -> None:
        self._progress, self._step = progress, step
        self._has_begun = False
        self._task = progress.add_task(
            step.label, total=step.total, completed=step.done, step=step, visible=False
        )

    def advance(self, units: int) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._step.begin()
            self._progress.update(self._task, visible=True)
        self._step.done += units
        self._progress.advance(self._task, units)

    def close(self, finished: bool) -> None:
        self._progress.remove_task(self._task)
        self._progress.console.print(self._step.last_line(finished), markup=False, highlight=False)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        step = task.fields["step"]
        return Text("  ".join([step.count(), rate_text(step.rate, step.unit), step.left()]))
