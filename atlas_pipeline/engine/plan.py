"""Report which steps would run, and why: the table behind `atlas status`. This module never writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

from atlas_pipeline.engine.agenda import Agenda
from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.engine.fingerprint import ordered
from atlas_pipeline.engine.location import Location
from atlas_pipeline.engine.part import provenance
from atlas_pipeline.engine.reason import why_damaged, why_missing
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.engine.store import Store
from atlas_pipeline.engine.survey import Finding, Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """The state of one step. A value is None if it does not apply or is not known yet.

    tasks: None while the split depends on an input that is not done. fingerprint, path: None while the
    content of an input is not known. reason: why the step would run; None if it is done.
    """

    stage: str
    layer: str | None
    view: str | None
    grid: int | None
    state: Literal["done", "partial", "missing"]
    tasks: int | None
    tasks_done: int
    fingerprint: str | None
    path: str | None
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """The object of `atlas status --json`."""
        return asdict(self)


def plan(steps: Iterable[Step], store: Store) -> list[StepState]:
    """The state of every step, inputs first, otherwise in the order given; one entry per artefact.

    Raises: AtlasError: a stage raises it when its work is split.
    """
    survey = Survey(store)
    earlier = cache(lambda stage: tuple(store.manifests(stage)))
    states: dict[object, StepState] = {}
    for step in ordered(steps):
        found = survey.look(step)
        key = (step.stage.name, found.fingerprint) if found.fingerprint else step
        if key not in states:
            tasks, done = _count(step, found, survey, store)
            folder = store.folder(step.stage.name, found.fingerprint) if found.fingerprint else None
            if found.is_done:
                reason = None
            elif found.damage and folder:
                reason = why_damaged(found.damage, folder, tasks)
            elif done:
                reason = f"{done} of {tasks} parts there" if tasks else f"{done} parts there"
            else:
                reason = why_missing(step, found, survey, earlier(step.stage.name))
            states[key] = _state(step, found, folder, tasks, done, reason)
    return list(states.values())


def left(
    steps: Iterable[Step],
    store: Store,
    *,
    only: Collection[str] | None = None,
    no_deps: bool = False,
    force: Collection[str] = (),
) -> list[Step]:
    """The steps that `run` would make with equal arguments, inputs first."""
    agenda = Agenda(ordered(steps), store, only, force)
    undone = [step for step in agenda.needed() if not agenda.survey.look(step).is_done]
    return [step for step in undone if not no_deps or only is None or step.stage.name in only]


def _count(step: Step, found: Finding, survey: Survey, store: Store) -> tuple[int | None, int]:
    """The number of tasks, and of those done."""
    if found.manifest is not None:
        tasks = len(found.manifest.parts)
        return tasks, tasks - len(found.damage)
    if found.fingerprint is None:
        return None, 0
    if (job := survey.job(step)) is None:
        return None, store.count_parts(step.stage.name, found.fingerprint)
    made = [provenance(step.stage, job, task) for task in step.stage.split(job)]
    return len(made), len(store.trusted_parts(step.stage.name, found.fingerprint, made))


def _state(
    step: Step, found: Finding, folder: Location | None, tasks: int | None, done: int, reason: str | None
) -> StepState:
    return StepState(
        stage=step.stage.name,
        layer=step.layer,
        view=step.view,
        grid=step.grid,
        state="done" if found.is_done else "partial" if done else "missing",
        tasks=tasks,
        tasks_done=done,
        fingerprint=found.fingerprint,
        path=str(folder) if folder else None,
        reason=reason,
    )


def artefacts_of(steps: Iterable[Step], store: Store) -> dict[Step, StoredArtefact]:
    """The artefacts of those steps that are done; shared inputs are surveyed once."""
    survey = Survey(store)
    found = {step: survey.look(step) for step in steps}
    return {step: store.artefact(f.manifest) for step, f in found.items() if f.is_done and f.manifest}


def artefact_of(step: Step, store: Store) -> StoredArtefact | None:
    """The finished artefact of a step; None if it is not done."""
    return artefacts_of([step], store).get(step)
