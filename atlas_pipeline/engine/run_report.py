"""Reports of a finished run."""

from __future__ import annotations

from dataclasses import dataclass

from atlas_pipeline.engine.stage import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """A step that was worked on. tasks_run: out of `tasks`; seconds: start to end. Siblings share both."""

    step: Step
    fingerprint: str
    path: str
    tasks: int
    tasks_run: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run's summary. tasks_run: calls of compute functions; siblings computed together count once."""

    steps: tuple[StepReport, ...]
    tasks_run: int
    seconds: float
