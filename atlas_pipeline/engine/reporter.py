"""What a run did."""

from __future__ import annotations

from dataclasses import dataclass

from atlas_pipeline.engine.stage import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """A step that was worked on. tasks_run: of `tasks` in all; seconds: start to end. Siblings share both."""

    step: Step
    fingerprint: str
    path: str
    tasks: int
    tasks_run: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """tasks_run: calls of a stage's compute, one for siblings that were computed together."""

    steps: tuple[StepReport, ...]
    tasks_run: int
    seconds: float
