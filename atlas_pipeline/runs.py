"""What the commands do: config and pipeline become steps, the engine runs them, the run's folder is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas_pipeline import engine
from atlas_pipeline.config import Config
from atlas_pipeline.devices import check_engine, resolved_device, resolved_workers
from atlas_pipeline.engine import Executor, Step, StepState, Store
from atlas_pipeline.engine.place import Place, place_of, refuse_unreachable
from atlas_pipeline.errors import ConfigError, CorruptArtefactError, ResourceError
from atlas_pipeline.needs import NEEDY_STAGES, needs_of, refuse_unmet
from atlas_pipeline.pipeline_file import steps_of
from atlas_pipeline.publish import Publication, publish, published_pictures
from atlas_pipeline.remarks import remarks
from atlas_pipeline.run_folder import reached, run_folder
from atlas_pipeline.stages.classes import other_names
from atlas_pipeline.stages.layer_shard import attributed_classes
from atlas_pipeline.stages.opened import model_config, model_spec, opened_network
from atlas_pipeline.stages.patch_report import PatchSummary, summary_of
from atlas_pipeline.stages.patch_test import STAGES as PATCH_STAGES
from atlas_pipeline.stages.patch_test import with_patch_test
from atlas_pipeline.stages.provenance import model_title, weights_note

if TYPE_CHECKING:
    from atlas_pipeline.models import LayerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run did, and what there is now."""

    tasks_run: int
    seconds: float
    published: Publication
    remarks: tuple[str, ...]
    pictures: tuple[Place, ...] = ()


def run(
    config: Config,
    pipeline: str | None = None,
    *,
    only: frozenset[str] | None = None,
    no_deps: bool = False,
    force: bool = False,
    local_cluster: int | None = None,
    cluster: str | None = None,
    quiet: bool = False,
    verify: bool = False,
    asked: Config | None = None,
) -> RunResult:
    """Run what is not done: every stage, or those of `only` with whatever they miss.

    Args:   verify: read all that is done in the workspace through before, and make again what is damaged.
            asked: the config with other entries than its own for the stages of `only`: then those are made
            in place of its own, and their files stay in the run's folder beside them.
    Raises: AtlasError, see `errors`.
    """
    if cluster and local_cluster:
        raise ConfigError("--cluster and --local-cluster exclude each other; give one")
    store, own = _store(config), steps_of(config, pipeline)
    steps = own
    if asked is not None:
        steps = engine.ordered(_targets(steps_of(asked, pipeline), only))
    if verify:
        _take_back_damaged(store, quiet)
    once = partial(
        _run_once,
        config,
        own,
        steps,
        store,
        only=only,
        no_deps=no_deps,
        force=force,
        local_cluster=local_cluster,
        cluster=cluster,
        quiet=quiet,
        by_command=asked is not None,
    )
    try:
        return once()
    except CorruptArtefactError:
        # The engine mends what its tasks read; this was read before them or after, e.g. to publish it.
        if not _take_back_damaged(store, quiet):
            raise
        return once()


def _take_back_damaged(store: Store, quiet: bool) -> bool:
    damaged = engine.verify(store)
    with engine.open_reporter(quiet=quiet) as reporter:
        for stage, fingerprint, names in damaged:
            reporter.say(f"{stage} {fingerprint}: {', '.join(names)} damaged; making it again")
    return bool(damaged)


def _run_once(
    config: Config,
    own: list[Step],
    steps: list[Step],
    store: Store,
    *,
    only: frozenset[str] | None,
    no_deps: bool,
    force: bool,
    local_cluster: int | None,
    cluster: str | None,
    quiet: bool,
    by_command: bool,
) -> RunResult:
    start = time.monotonic()
    tasks_run = 0
    if force or any(state.state != "done" for state in engine.plan(steps, store)):
        # Only now: a run with nothing to do never imports torch.
        device = resolved_device(config.run.device)
        check_engine(config.project.engine, device)
        _check_names(config, steps, store, device)
        with (
            _executor(device, local_cluster, cluster) as executor,
            engine.open_reporter(quiet=quiet) as reporter,
        ):
            make = partial(
                engine.run,
                steps,
                store,
                no_deps=no_deps,
                executor=executor,
                runtime=_runtime(config, device, on_cluster=bool(cluster or local_cluster)),
                reporter=reporter,
            )
            forced = (only or {step.stage.name for step in steps}) if force else set()
            left = engine.left(steps, store, only=only, no_deps=no_deps, force=forced)
            if any(step.stage.name in NEEDY_STAGES for step in left):
                # How many images there are decides what is needed.
                tasks_run += 0 if no_deps else make(only={"index"}).tasks_run
                needs = needs_of(config, left, store, device)
                if said := refuse_unmet(config, needs, on_cluster=bool(cluster)):
                    reporter.say(said)
            tasks_run += make(only=only, force=forced).tasks_run
    targets = _targets(steps, only)
    published = publish(config, own, store, by_command=targets if by_command else ())
    return RunResult(
        tasks_run=tasks_run,
        seconds=time.monotonic() - start,
        published=published,
        remarks=tuple(remarks(config, steps, store)),
        pictures=tuple(path for step in targets for path in published_pictures(config, step, store)),
    )


def figures(
    config: Config, pipeline: str | None = None, *, stage: str, asked: Config | None = None, **how: Any
) -> RunResult:
    """Bring the figures of one stage up to date: the config's own, or those that ``asked`` lists.

    Raises: ConfigError: none are listed. AtlasError, as ``run``.
    """
    only = frozenset({stage})
    if not _targets(steps_of(asked or config, pipeline), only):
        raise ConfigError(
            f"there is no {stage} to make: the config lists none, or its pipeline makes none; "
            f"name a class, e.g. atlas {stage} CONFIG --class zebra"
        )
    return run(config, pipeline, only=only, asked=asked, **how)


def patch_tests(
    config: Config,
    pipeline: str | None = None,
    *,
    compare: str | None = None,
    layers: Sequence[str] = (),
    num_images: int | None = None,
    **how: Any,
) -> tuple[RunResult, list[PatchSummary]]:
    """Bring patch tests up to date: that of one comparison (``cat,dog``), or those that the config marks.

    Raises: ConfigError: none is marked, or not two classes. AtlasError, as ``run``.
    """
    asked = with_patch_test(config, compare, layers, num_images)
    reports = [s for s in steps_of(asked, pipeline) if s.stage.name == "patch_report"]
    if not reports:
        raise ConfigError(
            "there is no patch test to make: the config marks no comparison with patch_test: true, or its "
            "pipeline makes none; name two classes, e.g. atlas patch-test CONFIG --compare cat,dog"
        )
    result = run(config, pipeline, only=PATCH_STAGES, asked=asked if asked != config else None, **how)
    store = _store(config)
    made = engine.artefacts_of(reports, store)
    return result, [summary_of(artefact) for artefact in made.values()]


def _targets(steps: Sequence[Step], only: frozenset[str] | None) -> list[Step]:
    """The steps of the stages that a command is for; none where it is for all."""
    return [step for step in steps if step.stage.name in (only or ())]


def status(config: Config, pipeline: str | None = None) -> list[StepState]:
    """The state of every step."""
    return engine.plan(steps_of(config, pipeline), _store(config))


def layers(config: Config) -> tuple[str, list[LayerInfo]]:
    """A title, and the network's layers that have a spatial map, in the order they run."""
    from atlas_pipeline.models import list_layers

    model = model_config(config)
    return f"{model_title(model)} ({weights_note(model)})", list_layers(
        opened_network(model_spec(config), "cpu")
    )


def page(config: Config) -> Place:
    """The page of a finished run.

    Raises: ConfigError: nothing is finished yet.
    """
    path = run_folder(config) / "index.html"
    if not path.is_file():
        raise ConfigError(
            f"run '{config.name}' has no atlas yet ({path} does not exist); make it with: atlas run"
        )
    return path.absolute()


def clean(config: Config, pipeline: str | None = None, *, remove: bool) -> list[tuple[Place, int]]:
    """Artefacts that neither this config nor any run of the workspace reaches, and their bytes."""
    store = _store(config)
    keep = engine.reachable(status(config, pipeline), store)
    for folder in run_folder(config).parent.glob("*"):
        keep |= reached(folder)
    unreached = engine.unreachable(store, keep)
    if remove:
        engine.remove(store, [folder for folder, _ in unreached])
    return unreached


def _store(config: Config) -> Store:
    workspace = place_of(config.run.workspace)
    if not isinstance(workspace, Path):
        refuse_unreachable(workspace)
        return Store(workspace)
    for folder in (workspace, *workspace.parents):
        if folder.exists() and not folder.is_dir():
            raise ResourceError(
                f"run.workspace '{workspace}': '{folder}' is a file; choose another workspace"
            )
    return Store(workspace)


def _check_names(config: Config, steps: list[Step], store: Store, device: str) -> None:
    """Refuse an unknown layer or class before an hour's work, not after it."""
    if all(s.state == "done" for s in engine.plan(steps, store) if s.stage == "sample"):
        return
    from atlas_pipeline.models import check_layers

    spec, images = model_spec(config), config.images
    network = opened_network(spec, device)
    check_layers(network, config.layers)
    others = other_names(spec, images.source, images.path, network.num_classes)
    attributed_classes(config.sample.attribution, network, others)


def _executor(
    device: str, local_cluster: int | None, cluster: str | None
) -> AbstractContextManager[Executor]:
    if not (cluster or local_cluster):
        return nullcontext(engine.InlineExecutor())
    # Dask takes seconds to import: only when it is asked for.
    from atlas_pipeline.engine import cluster as dask_cluster

    if cluster:
        return dask_cluster.existing_cluster(cluster)
    return dask_cluster.local_cluster(local_cluster or 1, device=device)


def _runtime(config: Config, device: str, on_cluster: bool) -> engine.Runtime:
    run = config.run
    return engine.Runtime(
        device=device,
        batch_size=None if run.batch_size == "auto" else run.batch_size,
        # On a cluster every worker is a process of its own: decoding more beside it would crowd the cores.
        workers=0 if on_cluster and run.workers == "auto" else resolved_workers(run.workers),
    )
