"""Make the missing steps of a run: check names, network and needs first, then run the tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from atlas_pipeline import engine
from atlas_pipeline.config.run_settings import model_spec, weights_set_note
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Executor, Reporter, Step, Store
from atlas_pipeline.engine.hardware import device_title, resolved_device, unusable_gpu
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.runs.checks import checks_for, made_elsewhere, refuse_failed, refuse_judge, summary
from atlas_pipeline.runs.devices import check_engine, resolved_workers
from atlas_pipeline.runs.preflight import needs_of, refuse_unmet
from atlas_pipeline.stages.sampling.check import CHECK
from atlas_pipeline.stages.sampling.index import INDEX
from atlas_pipeline.stages.sampling.sample import SAMPLE
from atlas_pipeline.views.class_names import attributed_classes, other_names

CHECKS = frozenset({CHECK.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a command that decide how to run; they never affect a result.

    only: names of stages to make, with their missing inputs; None: all. no_deps: refuse missing inputs
    instead of making them. force: make the stages anew. local_cluster: number of Dask workers to start on
    this machine. cluster: address of a Dask scheduler. quiet: show no progress.
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
    """Make the steps that are not done.

    Args:    note: called before anything is made, and again after the images are listed, because the listing
             decides the fingerprints of later artefacts.
    Returns: number of tasks that ran.
    Raises:  AtlasError, see `errors`.
    """
    all_stages = {step.stage.name for step in steps}
    forced = (all_stages if options.only is None else options.only) if options.force else set[str]()
    left = engine.left(steps, store, only=options.only, no_deps=options.no_deps, force=forced)
    if not left:
        return 0
    # Resolve the device only now: a run with nothing to do never imports torch.
    configured = config.run.device
    # The driver may lack hardware that the cluster's workers have.
    device = "cpu" if options.cluster else resolved_device(configured)
    check_engine(config.project.engine, configured if options.cluster else device)
    checks = _checks(left, steps, store, options)
    if not options.cluster and made_elsewhere(checks, store, device):
        forced = forced | CHECKS
    if options.only != CHECKS and CHECK.name not in forced:
        refuse_failed(checks, store, cached=True)
    if options.only is None or options.only - {INDEX.name}:
        _check_names(config, steps, store, device)
        refuse_judge(config, left, device)
    with _executor(device, options) as executor, engine.open_reporter(quiet=options.quiet) as reporter:
        run = partial(
            engine.run,
            store=store,
            no_deps=options.no_deps,
            executor=executor,
            runtime=_runtime(config, configured if options.cluster else device, options),
            reporter=reporter,
        )
        _say_device(configured, device, options, reporter)
        if line := weights_set_note(config):
            reporter.say(line)
        note()
        tasks_run = 0
        if checks or any(step.stage.needs for step in left):
            # Checks and needs depend on the images, so list them first.
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
        # The engine refuses the missing index.
        return []
    return checks


def _check_names(config: Config, steps: Sequence[Step], store: Store, device: str) -> None:
    """Refuse an unknown layer or class before the work starts."""
    if all(s.state == "done" for s in engine.plan(steps, store) if s.stage == SAMPLE.name):
        return
    from atlas_pipeline.models import check_layers

    spec, images = model_spec(config), config.images
    network = opened_network(spec, device)
    check_layers(network, config.layers)
    others = other_names(spec, images.source, images.path, network.num_classes, images.label_column)
    attributed_classes(config.sample.attribution, network, others)


def _say_device(configured: str, device: str, options: RunOptions, reporter: Reporter) -> None:
    if options.cluster:
        reporter.say(f"device: {configured}, on each worker of {options.cluster}")
        return
    reporter.say(f"device: {device_title(device)}")
    if configured == "auto" and device == "cpu" and (reason := unusable_gpu()):
        reporter.say(f"the GPU is not used: {reason}")


def _check_needs(
    config: Config, left: Sequence[Step], store: Store, device: str, options: RunOptions, reporter: Reporter
) -> None:
    needs = needs_of(config, left, store, device)
    if line := refuse_unmet(config, needs, num_workers=0 if options.cluster else options.local_cluster or 1):
        reporter.say(line)


def _executor(device: str, options: RunOptions) -> AbstractContextManager[Executor]:
    if not (options.cluster or options.local_cluster):
        return nullcontext(engine.InlineExecutor())
    # Import Dask only when it is used: the import takes seconds.
    from atlas_pipeline.engine import cluster

    if options.cluster:
        return cluster.existing_cluster(options.cluster)
    return cluster.local_cluster(options.local_cluster or 1, device=device)


def _runtime(config: Config, device: str, options: RunOptions) -> engine.Runtime:
    run, on_cluster = config.run, bool(options.cluster or options.local_cluster)
    return engine.Runtime(
        device=device,
        batch_size=None if run.batch_size == "auto" else run.batch_size,
        # Cluster workers are processes already; decoding processes beside them would oversubscribe the cores.
        workers=0 if on_cluster and run.workers == "auto" else resolved_workers(run.workers),
    )
