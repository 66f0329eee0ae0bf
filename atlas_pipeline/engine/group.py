"""Siblings that are computed together, from lock to manifest; a step without siblings is a group of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise

from atlas_pipeline.engine.progress import Bar, Reporter
from atlas_pipeline.engine.run_report import StepReport
from atlas_pipeline.engine.stage import Job, Runtime, Step, Task, describe
from atlas_pipeline.engine.store import Store
from atlas_pipeline.engine.survey import Survey
from atlas_pipeline.engine.task import Demand, Outcome, TaskCall
from atlas_pipeline.engine.unfinished import UnfinishedArtefact
from atlas_pipeline.errors import CorruptArtefactError, TasksFailedError, UserError


class Group:
    """Running steps and their locks.

    failures: failed tasks, by number. corrupt: set if a file that was read is damaged.
    """

    def __init__(
        self, number: int, steps: Sequence[Step], jobs: Sequence[Job], locks: ExitStack, store: Store
    ) -> None:
        self.number, self.steps, self.jobs = number, steps, jobs
        self.stage = steps[0].stage
        self.label = describe(*steps)
        self.failures: dict[int, Exception] = {}
        self.corrupt: CorruptArtefactError | None = None
        self.tasks_run = 0
        self.num_tasks = 0
        self._started = time.monotonic()
        self._locks, self._store = locks, store
        self._calls: dict[int, tuple[TaskCall, list[UnfinishedArtefact]]] = {}
        self._artefacts: list[UnfinishedArtefact] = []
        self._bar: Bar | None = None
        self._is_finished = False
        self._reported: dict[int, float] = {}
        # For each task, the tasks of its call.
        self._together: dict[int, list[int]] = {}

    @property
    def is_drained(self) -> bool:
        """Whether every call has come back."""
        return not self._calls

    def open(
        self,
        survey: Survey,
        runtime: Runtime,
        demand: Demand,
        num_gpus: Callable[[], int],
        reporter: Reporter,
    ) -> list[TaskCall]:
        """Split the work and adopt existing parts; returns the calls that remain.

        Args: demand: what each call asks of the machine. num_gpus: see `put_together`.

        Raises: CorruptArtefactError: an input is damaged. AtlasError: the stage stops the run.
        """
        tasks = self._split()
        self.num_tasks = len(tasks)
        for step, job in zip(self.steps, self.jobs, strict=True):
            artefact = UnfinishedArtefact(step, job, tasks, self._store)
            if artefact.adopt(survey.look(step).manifest):
                artefact.summary()  # an error that stopped the last run stops this one before it begins
            self._artefacts.append(artefact)
        for index, task in enumerate(tasks):
            incomplete = [artefact for artefact in self._artefacts if artefact.lacks(index)]
            if incomplete:
                self._calls[index] = self._call(index, task, incomplete, runtime, demand), incomplete
        sizes = [self.stage.size(task) for task in tasks]
        left = sum(sizes[index] for index in self._calls)
        self._bar = reporter.bar(
            self.label,
            self.stage.unit,
            total=sum(sizes),
            done=sum(sizes) - left,
            stage=self.stage.name,
            num_steps=len(self.steps),
        )
        calls = put_together([call for call, _ in self._calls.values()], num_gpus)
        for call in calls:
            indices = [call.index, *(other.index for other in call.others)]
            self._together |= dict.fromkeys(indices, indices)
        return calls

    def advance(self, index: int) -> Callable[[float], None]:
        """The progress callback of a call."""
        indices = self._together[index]
        sizes = {one: self.stage.size(self._calls[one][0].task) for one in indices}

        def advance(units: float) -> None:
            for one in indices:
                # A stage that counts wrongly must not push the bar beyond its end.
                added = min(units, sizes[one] - self._reported.get(one, 0))
                self._report(one, added)
                units -= added

        return advance

    def _report(self, index: int, units: float) -> None:
        self._reported[index] = self._reported.get(index, 0) + units
        if self._bar:
            self._bar.advance(units)

    def accept(self, outcome: Outcome) -> None:
        """Record the outcome of a call.

        Raises: UserError: from the task. AtlasError: the stage stops the run because of the notes so far.
        """
        outcomes = {one.index: replace(one, others=()) for one in (outcome, *outcome.others)}
        for index in self._together[outcome.index]:
            # An executor that lost a call gives one outcome for all of its tasks.
            self._accept(outcomes.get(index, replace(outcome, index=index, others=())))

    def _accept(self, outcome: Outcome) -> None:
        call, artefacts = self._calls.pop(outcome.index)
        if isinstance(outcome.error, UserError):
            raise outcome.error
        if isinstance(outcome.error, CorruptArtefactError):
            self.corrupt = outcome.error
        elif outcome.error is not None:
            self.failures[outcome.index] = outcome.error
        else:
            self.tasks_run += 1
            self._report(outcome.index, self.stage.size(call.task) - self._reported.get(outcome.index, 0))
            for artefact, record, notes in zip(artefacts, outcome.records, outcome.notes, strict=True):
                artefact.accept(outcome.index, record, notes)
                artefact.summary()

    def finish(self, survey: Survey) -> None:
        """Write the manifests.

        Raises: CorruptArtefactError: a part cannot be read back. AtlasError: see UnfinishedArtefact.finish.
        """
        for artefact in self._artefacts:
            artefact.finish(survey)
        self._is_finished = True

    def reports(self) -> list[StepReport]:
        """A report of the work so far, for each step."""
        return [
            StepReport(
                step=step,
                fingerprint=job.fingerprint,
                path=str(self._store.folder(step.stage.name, job.fingerprint)),
                tasks=self.num_tasks,
                tasks_run=self.tasks_run,
                seconds=time.monotonic() - self._started,
            )
            for step, job in zip(self.steps, self.jobs, strict=True)
        ]

    def close(self) -> None:
        """Release the locks."""
        if self._bar:
            self._bar.close(finished=self._is_finished)
        self._locks.close()

    def _split(self) -> Sequence[Task]:
        tasks, *others = [self.stage.split(job) for job in self.jobs]
        assert tasks, f"{self.label}: split gave no task"
        assert all(list(other) == list(tasks) for other in others), (
            f"{self.label}: siblings split differently"
        )
        return tasks

    def _call(
        self,
        index: int,
        task: Task,
        artefacts: Sequence[UnfinishedArtefact],
        runtime: Runtime,
        demand: Demand,
    ) -> TaskCall:
        return TaskCall(
            group=self.number,
            index=index,
            stage=self.stage,
            task=task,
            jobs=tuple(artefact.job for artefact in artefacts),
            folders=tuple(artefact.folder for artefact in artefacts),
            runtime=runtime,
            demand=demand,
        )


def put_together(calls: Sequence[TaskCall], num_gpus: Callable[[], int]) -> list[TaskCall]:
    """On GPUs, the calls for tasks that the stage computes together; the workers get equal shares.

    Args: calls: of one group, in order. num_gpus: counts the GPU workers that share them (see `Executor`).
    """
    most = calls[0].stage.most_together if calls else 1
    if most == 1 or not calls[0].demand.uses_device or not (shares := num_gpus()):
        return list(calls)
    # The tasks that lack the parts of some siblings only are computed for these alone.
    alike: list[list[TaskCall]] = []
    for call in calls:
        if alike and alike[-1][0].folders == call.folders:
            alike[-1].append(call)
        else:
            alike.append([call])
    most = min(most, -(-len(calls) // shares))
    found = []
    for run in alike:
        num = -(-len(run) // most)
        ends = [index * len(run) // num for index in range(num + 1)]
        found += [replace(run[start], others=tuple(run[start + 1 : stop])) for start, stop in pairwise(ends)]
    return found


def tasks_failed(groups: Sequence[Group]) -> TasksFailedError:
    """The error of a run: how many tasks of these groups failed, with the first failure as its cause."""
    first = groups[0]
    index, cause = min(first.failures.items())
    failed = sum(len(group.failures) for group in groups)
    tasks = sum(group.num_tasks for group in groups)
    what = (str(cause).splitlines() or [""])[0]
    error = TasksFailedError(
        f"{failed} of {tasks} tasks of {first.stage.name} failed; the first: task {index} of {first.label}: "
        f"{type(cause).__name__}: {what}; the rest is kept, the same command tries again only what failed"
    )
    error.__cause__ = cause
    return error
