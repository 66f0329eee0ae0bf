"""The progress of a whole run: how many of its steps are done, and how long the others will take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from atlas_pipeline.engine.step_progress import StepProgress


class RunProgress:
    """Counts the steps of a run, and estimates its end from the steps that have run so far.

    A step that is still to come takes as long as the steps of its stage took in this run, so that the
    estimate needs no knowledge of the stages. As long as some stage has not run yet, it is a lower bound.
    """

    def __init__(self) -> None:
        self._num_steps = self._num_done = 0
        self._to_come: Counter[str] = Counter()
        self._running: list[StepProgress] = []
        # For each stage, (seconds, steps) of what has ended.
        self._ended: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)

    def expect(self, stages: Sequence[str]) -> None:
        """Begin a run. stages: one name for each step that will be made."""
        self._num_steps, self._num_done = len(stages), 0
        self._to_come = Counter(stages)

    @property
    def num_running(self) -> int:
        """Number of groups of steps that run now."""
        return len(self._running)

    def begin(self, step: StepProgress) -> None:
        """Note that the first task of a step, or of steps that compute together, runs."""
        step.begin()
        self._running.append(step)
        self._to_come[step.stage] -= step.num_steps

    def end(self, step: StepProgress, finished: bool) -> None:
        """Note that a step ended. Its work may have been done before, so that it never began."""
        if step in self._running:
            self._running.remove(step)
            self._ended[step.stage].append((step.seconds, step.num_steps))
        else:
            self._to_come[step.stage] -= step.num_steps
        self._num_done += step.num_steps if finished else 0

    def line(self) -> str:
        """``11 of 35 steps done, about 4 minutes left``; "" if no steps were announced."""
        if not self._num_steps:
            return ""
        done = f"{self._num_done} of {self._num_steps} steps done"
        seconds, is_whole = self._seconds_left()
        if not seconds:
            return done
        return f"{done}, {'about' if is_whole else 'at least'} {about(seconds)} left"

    def _seconds_left(self) -> tuple[float, bool]:
        """Seconds that the known steps will take, and whether all steps are known."""
        seconds, is_whole = 0.0, True
        for step in self._running:
            left = step.seconds_left
            if left is None:
                typical = self._typical(step.stage)
                left = None if typical is None else max(0.0, typical * step.num_steps - step.seconds)
            seconds += left or 0.0
            is_whole &= left is not None
        for stage, number in self._to_come.items():
            typical = self._typical(stage)
            if number > 0:
                seconds += number * (typical or 0.0)
                is_whole &= typical is not None
        return seconds / max(1, self.num_running), is_whole

    def _typical(self, stage: str) -> float | None:
        """Seconds of one step of a stage; None if none has run."""
        known = list(self._ended[stage])
        for step in self._running:
            if step.stage == stage and (left := step.seconds_left) is not None:
                known.append((step.seconds + left, step.num_steps))
        return sum(seconds for seconds, _ in known) / sum(steps for _, steps in known) if known else None


def about(seconds: float) -> str:
    """A rough duration: ``a minute``, ``4 minutes``, ``2.5 hours``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return "a minute"
    return f"{minutes} minutes" if minutes < 90 else f"{seconds / 3600:.1f} hours"
