"""Progress bars on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from atlas_pipeline.engine.progress import Bar
from atlas_pipeline.engine.run_progress import RunProgress
from atlas_pipeline.engine.step_progress import StepProgress

_BAR_WIDTH = 16
# In a narrower terminal, bars have no rate.
_LEAST_FOR_RATE = 100


class BarsReporter:
    """One bar per running step: label, count, rate, time left; below them a line on the whole run.

    A step that waits for a worker has no bar yet. A step that ends becomes a line above the bars, so that a
    run of many steps fits on any screen.
    """

    def __init__(self, stream: TextIO) -> None:
        self.run = RunProgress()
        self._progress = _Bars(self.run, Console(file=stream))

    def expect(self, stages: Sequence[str]) -> None:
        self.run.expect(stages)

    def bar(
        self, label: str, unit: str, *, total: int, done: int, stage: str = "", num_steps: int = 1
    ) -> Bar:
        return _Bar(self._progress, self.run, StepProgress(label, unit, total, done, stage, num_steps))

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The line on the whole run is of no use after its end.
        self.run.expect([])
        self._progress.stop()


class _Bars(Progress):
    def __init__(self, run: RunProgress, console: Console) -> None:
        self._run = run
        columns = (
            TextColumn("{task.description}", markup=False, table_column=_column()),
            BarColumn(_BAR_WIDTH),
            _StateColumn(console.width >= _LEAST_FOR_RATE),
        )
        super().__init__(*columns, console=console, refresh_per_second=4)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if line := self._run.line():
            yield Text(line, style="bold", no_wrap=True, overflow="ellipsis")


class _Bar:
    def __init__(self, progress: Progress, run: RunProgress, step: StepProgress) -> None:
        self._progress, self._run, self._step = progress, run, step
        self._has_begun = False
        self._task = progress.add_task(step.label, total=step.total, step=step, visible=False)
        progress.advance(self._task, step.done)

    def advance(self, units: float) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._run.begin(self._step)
            self._progress.update(self._task, visible=True)
        self._step.add(units)
        self._progress.advance(self._task, units)

    def close(self, finished: bool) -> None:
        self._run.end(self._step, finished)
        self._progress.remove_task(self._task)
        self._progress.console.print(self._step.last_line(finished), markup=False, highlight=False)


def _column() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")


class _StateColumn(ProgressColumn):
    """Count, rate and time left."""

    def __init__(self, has_rate: bool) -> None:
        super().__init__(table_column=_column())
        self._has_rate = has_rate

    def render(self, task: Task) -> Text:
        step = task.fields["step"]
        parts = [step.count(), step.speed() if self._has_rate else "", step.left()]
        return Text("  ".join(filter(None, parts)))
