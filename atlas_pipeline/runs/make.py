"""Making what a run lacks: what must be known beforehand, where tasks run, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from atlas_pipeline import engine
from atlas_pipeline.config.network import model_spec, taken_weights
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Executor, Reporter, Step, Store
from atlas_pipeline.engine.hardware import resolved_device
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.runs.checks import checks_for, made_elsewhere, refuse_failed, summary
from atlas_pipeline.runs.devices import check_engine, resolved_workers
from atlas_pipeline.runs.preflight import needs_of, refuse_unmet
from atlas_pipeline.stages.sampling.check import CHECK
from atlas_pipeline.stages.sampling.index import INDEX
from atlas_pipeline.stages.sampling.sample import SAMPLE
from atlas_pipeline.views.classes import attributed_classes, other_names

CHECKS = frozenset({CHECK.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a command says of how to run; never of influence on a result.

    only: names of stages to make, with whatever they miss; None: all. no_deps: without what they miss. force:
    make them anew. local_cluster: so many Dask workers here. cluster: the address of a Dask scheduler.
    """

    only: frozenset[str] | None = None
    no_deps: bool = False
    force: bool = False
    local_cluster: int | None = None
    cluster: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigError: two kinds of cluster at once."""
        if self.cluster and self.local_cluster:
            raise ConfigError("--cluster and --local-cluster exclude each other; give one")


def make(
    config: Config,
    steps: Sequence[Step],
    store: Store,
    options: RunOptions,
    note: Callable[[], None] = lambda: None,
) -> int:
    """Make what is not done of the steps; returns how many tasks ran.

    Args:   note: called before anything is made, and again once the images are listed: that says which
            artefacts will be needed.
    Raises: AtlasError, see `errors`.
    """
    every = {step.stage.name for step in steps}
    forced = (every if options.only is None else options.only) if options.force else set[str]()
    left = engine.left(steps, store, only=options.only, no_deps=options.no_deps, force=forced)
    if not left:
        return 0
    # Only now: a run with nothing to do never imports torch.
    asked = config.run.device
    # Of what the machines of a cluster have, this one may be without.
    device = "cpu" if options.cluster else resolved_device(asked)
    check_engine(config.project.engine, asked if options.cluster else device)
    checks = _checks(left, steps, store, options)
    if not options.cluster and made_elsewhere(checks, store, device):
        forced = forced | CHECKS
    if options.only != CHECKS and CHECK.name not in forced:
        refuse_failed(checks, store, cached=True)
    if options.only is None or options.only - {INDEX.name}:
        _check_names(config, steps, store, device)
    with _executor(device, options) as executor, engine.open_reporter(quiet=options.quiet) as reporter:
        run = partial(
            engine.run,
            store=store,
            no_deps=options.no_deps,
            executor=executor,
            runtime=_runtime(config, asked if options.cluster else device, options),
            reporter=reporter,
        )
        if said := taken_weights(config):
            reporter.say(said)
        note()
        tasks_run = 0
        if checks or any(step.stage.needs for step in left):
            # How many images there are decides what is needed.
            tasks_run += 0 if options.no_deps else run(steps, only={INDEX.name}).tasks_run
            if tasks_run:
                note()
        if checks:
            num_checks = run(checks, only=CHECKS, force=forced & CHECKS).tasks_run
            tasks_run += num_checks
            if options.only != CHECKS:
                refuse_failed(checks, store, cached=False)
            if num_checks and options.only != CHECKS:
                reporter.say(summary(checks, store))
        if any(step.stage.needs for step in left):
            _check_needs(config, left, store, device, options, reporter)
        return tasks_run + run(steps, only=options.only, force=forced - CHECKS).tasks_run


def _checks(left: Sequence[Step], steps: Sequence[Step], store: Store, options: RunOptions) -> list[Step]:
    """The checks that this run begins with, done or not."""
    checks = checks_for(left, steps)
    if options.no_deps and not engine.artefacts_of([check.inputs["index"] for check in checks], store):
        # A missing index is refused on its own account.
        return []
    return checks


def _check_names(config: Config, steps: Sequence[Step], store: Store, device: str) -> None:
    """Refuse an unknown layer or class before an hour's work, not after it."""
    if all(s.state == "done" for s in engine.plan(steps, store) if s.stage == SAMPLE.name):
        return
    from atlas_pipeline.models import check_layers

    spec, images = model_spec(config), config.images
    network = opened_network(spec, device)
    check_layers(network, config.layers)
    others = other_names(spec, images.source, images.path, network.num_classes, images.label_column)
    attributed_classes(config.sample.attribution, network, others)


def _check_needs(
    config: Config, left: Sequence[Step], store: Store, device: str, options: RunOptions, reporter: Reporter
) -> None:
    needs = needs_of(config, left, store, device)
    if said := refuse_unmet(config, needs, num_workers=0 if options.cluster else options.local_cluster or 1):
        reporter.say(said)


def _executor(device: str, options: RunOptions) -> AbstractContextManager[Executor]:
    if not (options.cluster or options.local_cluster):
        return nullcontext(engine.InlineExecutor())
    # Dask takes seconds to import: only when it is asked for.
    from atlas_pipeline.engine import cluster

    if options.cluster:
        return cluster.existing_cluster(options.cluster)
    return cluster.local_cluster(options.local_cluster or 1, device=device)


def _runtime(config: Config, device: str, options: RunOptions) -> engine.Runtime:
    run, on_cluster = config.run, bool(options.cluster or options.local_cluster)
    return engine.Runtime(
        device=device,
        batch_size=None if run.batch_size == "auto" else run.batch_size,
        # On a cluster every worker is a process of its own: decoding more beside it would crowd the cores.
        workers=0 if on_cluster and run.workers == "auto" else resolved_workers(run.workers),
    )
