"""Decides which steps of a run must be made, and which of them can start now."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from atlas_pipeline.engine.declaration import by_role
from atlas_pipeline.engine.stage import Job, Step, describe
from atlas_pipeline.engine.store import Store
from atlas_pipeline.engine.survey import Survey
from atlas_pipeline.errors import MissingInputError


class Agenda:
    """The steps of a run. only, force: names of stages to make, and to make again; see execute.run."""

    def __init__(
        self, steps: Sequence[Step], store: Store, only: Collection[str] | None, force: Collection[str]
    ) -> None:
        self.survey = Survey(store, self._is_forced)
        self._steps, self._only, self._force = steps, only, force
        self._retired: set[tuple[str, str]] = set()
        self._priorities = priorities(steps)

    def refuse_missing_inputs(self) -> None:
        """Raises: MissingInputError: a step to make needs an input that is neither done nor to be made."""
        for step in filter(self._is_target, self._steps):
            if self.survey.look(step).is_done:
                continue
            for source in step.inputs.values():
                if not self._is_target(source) and not self.survey.look(source).is_done:
                    raise MissingInputError(
                        f"{describe(step)} needs {describe(source)}, which is not done; "
                        f"run {source.stage.name} first, or leave out --no-deps"
                    )

    def ready(self, busy: Collection[str], stages: Collection[str]) -> dict[tuple[str, ...], list[Step]]:
        """The steps that can start now, siblings together.

        busy: fingerprints of steps that are running or failed. stages: if not empty, only these stages.
        """
        ready: dict[tuple[str, ...], list[Step]] = {}
        seen = set(busy)
        for step in self.needed():
            job = self.pending_job(step)
            if job is None or job.fingerprint in seen or (stages and step.stage.name not in stages):
                continue
            seen.add(job.fingerprint)
            ready.setdefault(_group_key(step, job), []).append(step)
        return ready

    def pending_job(self, step: Step) -> Job | None:
        """The job of a step that is not done; None if it is done or an input is not."""
        return None if self.survey.look(step).is_done else self.survey.job(step)

    def mark_retired(self, stage: str, fingerprint: str) -> None:
        """Note that a forced step's old artefact was removed; from now on the step is like any other."""
        self._retired.add((stage, fingerprint))
        self.survey.forget(stage, fingerprint)

    def priority(self, step: Step) -> int:
        """Length of the longest chain of steps on the device that begins with this step."""
        return self._priorities[step]

    def num_left(self, stage: str) -> int:
        """Number of steps of a stage that are not done."""
        return sum(step.stage.name == stage and not self.survey.look(step).is_done for step in self.needed())

    def _is_target(self, step: Step) -> bool:
        return self._only is None or step.stage.name in self._only

    def _is_forced(self, step: Step, fingerprint: str) -> bool:
        stage = step.stage.name
        return stage in self._force and self._is_target(step) and (stage, fingerprint) not in self._retired

    def needed(self) -> list[Step]:
        """The target steps, and the steps that undone targets depend on."""
        needed: set[Step] = set()

        def visit(step: Step) -> None:
            if step not in needed:
                needed.add(step)
                if not self.survey.look(step).is_done:
                    for source in step.inputs.values():
                        visit(source)

        for step in filter(self._is_target, self._steps):
            visit(step)
        return [step for step in self._steps if step in needed]


def _group_key(step: Step, job: Job) -> tuple[str, ...]:
    if step.shared is None:
        return step.stage.name, job.fingerprint
    common = sorted(item for item in by_role(job.inputs).items() if item[0] not in step.own_inputs)
    inputs = (f"{role} {source.fingerprint}" for role, source in common)
    return step.stage.name, step.shared, *inputs


def priorities(steps: Sequence[Step]) -> dict[Step, int]:
    """For each step, the length of the longest chain of steps on the device that begins with it.

    Steps on the way to work for the device come before others, and pictures and pages come last: a GPU that
    waits costs more than a core that waits.

    Args: steps: inputs before the steps that use them.
    """
    longest = dict.fromkeys(steps, 0)
    for step in reversed(steps):
        longest[step] += step.stage.is_for_device(step.config)
        for source in step.inputs.values():
            longest[source] = max(longest[source], longest[step])
    return longest
