"""Runs the steps of a pipeline: skips finished artefacts, completes partial ones, makes missing ones."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from atlas_pipeline.engine.agenda import Agenda
from atlas_pipeline.engine.executor import Executor, InlineExecutor
from atlas_pipeline.engine.fingerprint import ordered
from atlas_pipeline.engine.force import retire
from atlas_pipeline.engine.group import Group, tasks_failed
from atlas_pipeline.engine.lock import allow_many_locks, try_locks
from atlas_pipeline.engine.progress import Reporter, SilentReporter
from atlas_pipeline.engine.repair import remove_damaged_parts
from atlas_pipeline.engine.run_report import RunReport, StepReport
from atlas_pipeline.engine.stage import Runtime, Step, describe
from atlas_pipeline.engine.store import Store
from atlas_pipeline.engine.task import Demand
from atlas_pipeline.errors import CorruptArtefactError

POLL_S = 0.5
# Repeated damage to one file means that the disk is faulty; making the file again does not help.
MAX_REPAIRS = 3


def nothing_to_count(step: Step) -> int:
    """The memory of tasks that need too little to count."""
    return 0


def nothing_to_say(ended: Sequence[Step]) -> None:
    """Work between tasks that does nothing."""


def run(
    steps: Iterable[Step],
    store: Store,
    *,
    only: Collection[str] | None = None,
    no_deps: bool = False,
    force: Collection[str] = (),
    executor: Executor | None = None,
    runtime: Runtime | None = None,
    reporter: Reporter | None = None,
    memory_of: Callable[[Step], int] = nothing_to_count,
    between: Callable[[Sequence[Step]], str | None] = nothing_to_say,
) -> RunReport:
    """Make every missing artefact of the steps.

    Args:
        only: names of stages to run; None: all. Missing inputs of theirs are made first.
        no_deps: do not make missing inputs; they are an error.
        force: names of stages to make again even if they are done.
        executor: where tasks run; None: in this process.
        runtime: device, batch size and workers for the tasks. reporter: receives the progress.
        memory_of: peak memory of a task of the step, in bytes. Workers of this machine do not begin tasks
            that together need more than is free.
        between: called after each task with the steps that have ended since its last call; may return a line
            for the user.
    Raises:
        MissingInputError: an input is missing and no_deps is set. UserError: from a stage or from the disk;
        stops the run, and finished work is kept. TasksFailedError: some tasks failed; the rest of their stage
        was finished and is kept. CorruptArtefactError: a file is damaged each time it is made.
    """
    agenda = Agenda(ordered(steps), store, only, force)
    if no_deps:
        agenda.refuse_missing_inputs()
    started = time.monotonic()
    allow_many_locks()
    work = _Run(
        agenda,
        store,
        executor or InlineExecutor(),
        runtime or Runtime(),
        reporter or SilentReporter(),
        memory_of,
        between,
    )
    try:
        work.run_all()
    finally:
        work.release()
    if work.failed:
        raise tasks_failed(work.failed)
    return RunReport(steps=tuple(work.reports), tasks_run=work.tasks_run, seconds=time.monotonic() - started)


class _Run:
    """One call of `run`."""

    def __init__(
        self,
        agenda: Agenda,
        store: Store,
        executor: Executor,
        runtime: Runtime,
        reporter: Reporter,
        memory_of: Callable[[Step], int],
        between: Callable[[Sequence[Step]], str | None],
    ) -> None:
        self.reports: list[StepReport] = []
        self.tasks_run = 0
        self.failed: list[Group] = []
        self._agenda, self._store = agenda, store
        self._executor, self._runtime, self._reporter = executor, runtime, reporter
        self._memory_of, self._between = memory_of, between
        self._just_ended: list[Step] = []
        self._groups: dict[int, Group] = {}
        self._num_groups = 0
        self._waiting = False
        self._already_said: set[str] = set()
        self._repairs: Counter[str] = Counter()

    def run_all(self) -> None:
        """Start the steps that are ready and process outcomes until nothing is left."""
        while True:
            self._waiting = False
            self._start_ready()
            if self._groups:
                for outcome in self._executor.wait(POLL_S if self._waiting else None):
                    group = self._groups[outcome.group]
                    group.accept(outcome)
                    if group.is_drained:
                        self._end(group)
                self._call_between()
            elif self._waiting:
                time.sleep(POLL_S)
            elif not self._ready():
                return

    def _call_between(self) -> None:
        ended, self._just_ended = self._just_ended, []
        if (line := self._between(ended)) is not None:
            self._reporter.say(line)

    def release(self) -> None:
        """Cancel running work and release its locks. Finished work is kept."""
        if self._groups:
            self._executor.cancel()
        for group in self._groups.values():
            group.close()
        self._groups.clear()

    def _ready(self) -> dict[tuple[str, ...], list[Step]]:
        busy = {job.fingerprint for group in (*self._groups.values(), *self.failed) for job in group.jobs}
        # After a failure, finish the stage that failed, but start no other.
        return self._agenda.ready(busy, {group.stage.name for group in self.failed})

    def _start_ready(self) -> None:
        tried: set[tuple[str, ...]] = set()
        # If another run is making a step, wait for it: two runs of one pipeline would only slow each other
        # down.
        while not self._waiting and (self._executor.concurrent or not self._groups):
            untried = {key: steps for key, steps in self._ready().items() if key not in tried}
            if not untried:
                return
            key, steps = next(iter(untried.items()))
            tried.add(key)
            self._start(steps)

    def _start(self, steps: list[Step]) -> None:
        survey = self._agenda.survey
        names = [(step.stage.name, survey.look(step).fingerprint or "") for step in steps]
        locks = try_locks([self._store.lock_path(*name) for name in names])
        if locks is None:
            self._waiting = True
            self._say_once(f"{describe(*steps)}: another run is making it; waiting for that to end")
            return
        # Another run may have finished the step before we got the lock.
        for name in names:
            survey.forget(*name)
        left = [(step, job) for step in steps if (job := self._agenda.pending_job(step)) is not None]
        if not left:
            locks.close()
            return
        self._num_groups += 1
        group = Group(
            self._num_groups, [step for step, _ in left], [job for _, job in left], locks, self._store
        )
        self._groups[group.number] = group
        self._open(group)

    def _open(self, group: Group) -> None:
        survey = self._agenda.survey
        for step, job in zip(group.steps, group.jobs, strict=True):
            found = survey.look(step)
            if found.forced:
                retire(self._store, step.stage, job.fingerprint, found.manifest, found.damage)
                self._agenda.mark_retired(step.stage.name, job.fingerprint)
            elif found.damage:
                self._reporter.say(f"{describe(step)}: {', '.join(found.damage)} damaged; making it again")
        try:
            demand = self._demand(group)
            num_gpus = partial(self._executor.num_gpus, self._runtime.device)
            calls = group.open(survey, self._runtime, demand, num_gpus, self._reporter)
        except CorruptArtefactError as error:
            calls, group.corrupt = [], error
        for call in calls:
            self._executor.submit(call, group.advance(call.index))
        if not calls:
            self._end(group)

    def _demand(self, group: Group) -> Demand:
        stage = group.stage
        return Demand(
            uses_device=stage.is_for_device(group.steps[0].config),
            memory_bytes=max(self._memory_of(step) for step in group.steps),
            priority=max(self._agenda.priority(step) for step in group.steps),
            sharing=self._agenda.num_left(stage.name) if stage.uses_all_cores else 0,
        )

    def _end(self, group: Group) -> None:
        """All calls are back: finish the group, repair its damaged inputs, or record its failure."""
        try:
            if group.corrupt is None and not group.failures:
                group.finish(self._agenda.survey)
        except CorruptArtefactError as error:
            group.corrupt = error
        if group.corrupt is not None:
            self._repair(group, group.corrupt)
        elif group.failures:
            self.failed.append(group)
        else:
            self._just_ended += group.steps
        del self._groups[group.number]
        group.close()
        self.tasks_run += group.tasks_run
        self.reports.extend(group.reports())
        for step, job in zip(group.steps, group.jobs, strict=True):
            self._agenda.survey.forget(step.stage.name, job.fingerprint)

    def _repair(self, group: Group, error: CorruptArtefactError) -> None:
        """Remove damaged inputs; the next round makes them again, then the rest of the group."""
        self._repairs[group.label] += 1
        if self._repairs[group.label] > MAX_REPAIRS:
            raise error
        for job in group.jobs:
            for stage, fingerprint, names in remove_damaged_parts(self._store, job):
                self._agenda.survey.forget(stage, fingerprint)
                if names:
                    self._reporter.say(f"{stage} {fingerprint}: {', '.join(names)} damaged; making it again")

    def _say_once(self, text: str) -> None:
        if text not in self._already_said:
            self._already_said.add(text)
            self._reporter.say(text)
