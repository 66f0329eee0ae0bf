"""The work of the commands: build the steps of a config, run them, publish the run's folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from atlas_pipeline import engine
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step, StepState, Store
from atlas_pipeline.engine.location import Location, disk_errors, location_of, refuse_unreachable
from atlas_pipeline.errors import (
    AtlasError,
    ConfigError,
    CorruptArtefactError,
    ResourceError,
    TasksFailedError,
)
from atlas_pipeline.patch_test.patch_report import PATCH_REPORT, PatchSummary, summary_of
from atlas_pipeline.patch_test.steps import with_patch_test
from atlas_pipeline.publish.early import EarlyPublication
from atlas_pipeline.publish.publication import Publication, files_in_folder, publish, publish_early
from atlas_pipeline.publish.run_folder import record_reach, run_folder
from atlas_pipeline.publish.run_record import recorded_reach
from atlas_pipeline.runs.checks import refuse_failed, with_checks
from atlas_pipeline.runs.executors import LocalCluster
from atlas_pipeline.runs.icon_banks import MadeBank, make_bank
from atlas_pipeline.runs.layer_list import network_title
from atlas_pipeline.runs.make import CHECKS, RunOptions, make
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.runs.remarks import image_remarks, remarks
from atlas_pipeline.runs.unit_checks import refuse_without_section
from atlas_pipeline.stages.sampling.check import rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The outcome of a run. files: the files of the requested steps in the run's folder."""

    tasks_run: int
    seconds: float
    published: Publication
    remarks: tuple[str, ...]
    files: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The findings of the checks.

    rows: mappings with layer ("" for the network), check, verdict, value and said.
    """

    title: str
    num_images: int
    rows: tuple[Mapping[str, Any], ...]
    refuse: Callable[[], None]
    """Raises ModelError if a row fails."""


def run(
    config: Config,
    pipeline: str | None = None,
    *,
    command: str | None = None,
    no_deps: bool = False,
    force: bool = False,
    local_cluster: LocalCluster = 0,
    cluster: str | None = None,
    quiet: bool = False,
    verify: bool = False,
    requested: Config | None = None,
) -> RunResult:
    """Run what is not done: every stage, or the stages of one command with their missing inputs.

    Args:
        command: see `Stage.commands`; None: every stage.
        verify: first read all finished artefacts of the workspace, and make damaged ones again.
        requested: the config with other entries for the stages of the command. The run makes these in place
            of the config's own; the files of both stay in the run's folder.
        The others: see `make.RunOptions`.
    Raises: AtlasError, see `errors`.
    """
    if pipeline is None:
        refuse_without_section(config, command)
    store, own = _store(config), _steps(config, pipeline)
    steps = own
    if requested is not None:
        steps = with_checks(_of_command(steps_of(requested, pipeline), command))
    options = RunOptions(
        only=None if command is None else frozenset(s.stage.name for s in _of_command(steps, command)),
        no_deps=no_deps,
        force=force,
        local_cluster=local_cluster,
        cluster=cluster,
        quiet=quiet,
    )
    by_command = _of_command(steps, command) if requested is not None else []
    if verify:
        _discard_damaged(store, quiet)
    try:
        return _run(config, own, steps, by_command, store, options)
    except CorruptArtefactError:
        # The engine repairs inputs of its tasks. This file was read before or after them, e.g. to publish it.
        is_damaged = _discard_damaged(store, quiet)
        if not is_damaged and all(state.state == "done" for state in engine.plan(steps, store)):
            raise
        return _run(config, own, steps, by_command, store, options)


def _run(
    config: Config,
    own: list[Step],
    steps: list[Step],
    by_command: list[Step],
    store: Store,
    options: RunOptions,
) -> RunResult:
    start = time.monotonic()
    note = partial(_note, config, [*own, *steps], store, options.force)

    def publish_now() -> Location | None:
        published = publish_early(config, own, store, by_command)
        # The folder's record now names less than this run will need, if it is forced.
        note()
        return published.page if published else None

    early = EarlyPublication(publish_now)
    try:
        tasks_run = make(config, steps, store, options, note, early)
    except TasksFailedError:
        # Publish what is done. If that fails too, the failed tasks are the error to report.
        with suppress(AtlasError):
            publish(config, own, store, by_command=by_command)
        raise
    published = publish(config, own, store, by_command=by_command)
    files = (
        path for step in _with_stage(steps, options.only) for path in files_in_folder(config, step, store)
    )
    return RunResult(
        tasks_run=tasks_run,
        seconds=time.monotonic() - start,
        published=published,
        remarks=tuple(remarks(config, steps, store)),
        files=tuple(files),
    )


def _note(config: Config, steps: Sequence[Step], store: Store, force: bool) -> None:
    reach = engine.reach_of(engine.plan(steps, store))
    if force:
        # A forced stage may give other values, and later stages then get other fingerprints.
        reach = replace(reach, stages=frozenset(step.stage.name for step in steps))
    record_reach(config, reach, store)


def _discard_damaged(store: Store, quiet: bool) -> bool:
    damaged = engine.verify(store)
    with engine.open_reporter(quiet=quiet) as reporter:
        for stage, fingerprint, names in damaged:
            reporter.say(f"{stage} {fingerprint}: {', '.join(names)} damaged; making it again")
    return bool(damaged)


def figures(
    config: Config,
    pipeline: str | None = None,
    *,
    command: str,
    requested: Config | None = None,
    **options: Any,
) -> RunResult:
    """Bring the figures of a command up to date: the config's own, or those that ``requested`` lists.

    Raises: ConfigError: no figures are listed. AtlasError: as ``run``.
    """
    if not _of_command(steps_of(requested or config, pipeline), command):
        raise ConfigError(
            f"there is no {command} to make: the config lists none, or its pipeline makes none; "
            f"name a class, e.g. atlas {command} CONFIG --class zebra"
        )
    return run(config, pipeline, command=command, requested=requested, **options)


def pictures(
    config: Config, pipeline: str | None = None, *, requested: Config | None = None, **options: Any
) -> RunResult:
    """Bring up to date the pages of pictures, the config's own or those of ``requested``, and the atlases.

    Raises: ConfigError: no picture is listed. ImagesError: none of them can be used. AtlasError: as ``run``.
    """
    if not _of_command(steps_of(requested or config, pipeline), "image"):
        raise ConfigError(
            "there is no picture to look at: the config lists none, or its pipeline makes no page; name one "
            "or more, e.g. atlas image CONFIG dog.jpg 'photos/*.jpg'"
        )
    result = run(config, pipeline, command="image", requested=requested, **options)
    if pipeline is None and not options.get("no_deps"):
        # The pages lead to the layers' atlases. They come last, so that a bad class is refused before them.
        atlases, store = with_checks(steps_of(config, "layer_atlas")), _store(config)
        if any(state.state != "done" for state in engine.plan(atlases, store)):
            _run(config, _steps(config, None), atlases, [], store, RunOptions(**(options | {"force": False})))
    return result


def patch_tests(
    config: Config,
    pipeline: str | None = None,
    *,
    compare: str | None = None,
    layers: Sequence[str] = (),
    num_images: int | None = None,
    **options: Any,
) -> tuple[RunResult, list[PatchSummary]]:
    """Bring patch tests up to date: of one comparison (``cat,dog``), or of all that the config marks.

    Raises: ConfigError: no comparison is marked, or not two classes. AtlasError: as ``run``.
    """
    requested = with_patch_test(config, compare, layers, num_images)
    reports = _with_stage(steps_of(requested, pipeline), {PATCH_REPORT.name})
    if not reports:
        raise ConfigError(
            "there is no patch test to make: the config marks no comparison with patch_test: true, or its "
            "pipeline makes none; name two classes, e.g. atlas patch-test CONFIG --compare cat,dog"
        )
    result = run(
        config,
        pipeline,
        command="patch-test",
        requested=requested if requested != config else None,
        **options,
    )
    store = _store(config)
    made = engine.artefacts_of(reports, store)
    return result, [summary_of(artefact) for artefact in made.values()]


def _of_command(steps: Sequence[Step], command: str | None) -> list[Step]:
    """The steps that a command brings up to date."""
    return [step for step in steps if command in step.stage.commands]


def _with_stage(steps: Sequence[Step], names: Collection[str] | None) -> list[Step]:
    """The steps whose stage is among the names; None: no step."""
    return [step for step in steps if step.stage.name in (names or ())]


def has_command(config: Config, pipeline: str | None, command: str) -> bool:
    """Whether a command brings any stage of a pipeline up to date."""
    return bool(_of_command(_steps(config, pipeline), command))


def status(config: Config, pipeline: str | None = None) -> list[StepState]:
    """The state of every step."""
    return engine.plan(_steps(config, pipeline), _store(config))


def _steps(config: Config, pipeline: str | None) -> list[Step]:
    """The steps of a pipeline, ours or a user's, with the checks inserted."""
    return with_checks(steps_of(config, pipeline))


def check(config: Config, pipeline: str | None = None, **options: Any) -> CheckResult:
    """Check the network on a few images, or read earlier findings; nothing is sampled.

    Raises: ConfigError: the pipeline samples nothing. AtlasError: as ``run``, but not for failed findings.
    """
    store, steps = _store(config), _steps(config, pipeline)
    checks = _with_stage(steps, CHECKS)
    if not checks:
        raise ConfigError("there is nothing to check: the pipeline samples no layer")
    note = partial(_note, config, steps, store, False)
    make(config, steps, store, RunOptions(only=CHECKS, **options), note)
    made = engine.artefacts_of(checks, store)
    return CheckResult(
        title=network_title(model_spec(config)),
        num_images=max(artefact.notes["num_images"] for artefact in made.values()),
        rows=tuple(rows_of(made.values())),
        refuse=partial(refuse_failed, checks, store, cached=False),
    )


def remarks_on_images(config: Config, pipeline: str | None = None) -> list[str]:
    """Lines about files that the listing left out, and about missing labels."""
    return image_remarks(steps_of(config, pipeline), _store(config))


def page(config: Config) -> Location:
    """The page of a finished run.

    Raises: ConfigError: nothing is finished yet. ResourceError: the workspace cannot be reached or read.
    """
    path = run_folder(config) / "index.html"
    refuse_unreachable(path)
    with disk_errors(path):
        is_there = path.is_file()
    if not is_there:
        raise ConfigError(
            f"run '{config.name}' has no atlas yet ({path} does not exist); make it with: atlas run"
        )
    return path.absolute()


def bank(config: Config) -> MadeBank:
    """Collect the finished icons of the workspace that fit a config; see `icon_banks.make_bank`."""
    return make_bank(config, _store(config))


def clean(config: Config, pipeline: str | None = None, *, remove: bool) -> list[tuple[Location, int]]:
    """The artefacts that neither this config nor any run of the workspace reaches, and their sizes in bytes.

    Args:   remove: remove the artefacts; those in use by another run stay, and are left out of the result.
    Raises: ConfigError: a run has no record of what it reaches. ResourceError: no right to read or remove.
    """
    store, runs = _store(config), run_folder(config).parent
    keep = engine.reachable(engine.reach_of(status(config, pipeline)), store)
    with disk_errors(runs):
        folders: list[Location] = list(runs.glob("*"))
    for folder in folders:
        keep |= engine.reachable(recorded_reach(folder), store)
    unreached = engine.unreachable(store, keep)
    if not remove:
        return unreached
    # The engine keeps artefacts that another run is making right now.
    removed = set(engine.remove(store, [folder for folder, _ in unreached]))
    return [(folder, num_bytes) for folder, num_bytes in unreached if folder in removed]


def _store(config: Config) -> Store:
    workspace = location_of(config.run.workspace)
    if not isinstance(workspace, Path):
        refuse_unreachable(workspace)
        return Store(workspace)
    with disk_errors(workspace):
        for folder in (workspace, *workspace.parents):
            if folder.exists() and not folder.is_dir():
                raise ResourceError(
                    f"run.workspace '{workspace}': '{folder}' is a file; choose another workspace"
                )
    return Store(workspace)
