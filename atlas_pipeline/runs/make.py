"""Make the missing steps of a run: check names, network and needs first, then run the tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from atlas_pipeline import engine
from atlas_pipeline.config.run_settings import model_spec, weights_set_note
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Reporter, Step, Store
from atlas_pipeline.engine.execute import nothing_to_say
from atlas_pipeline.engine.hardware import device_title, resolved_device, unusable_gpu
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.runs.checks import checks_for, made_elsewhere, refuse_failed, refuse_judge, summary
from atlas_pipeline.runs.devices import check_engine
from atlas_pipeline.runs.direction_checks import refuse_directions
from atlas_pipeline.runs.dream_checks import refuse_dreams
from atlas_pipeline.runs.executors import LocalCluster, current_gpu, executor_for, uses_gpu_itself
from atlas_pipeline.runs.icon_banks import refuse_bank
from atlas_pipeline.runs.preflight import memory_of_tasks, needs_by_siblings, refuse_unmet, total_needs
from atlas_pipeline.runs.unit_checks import refuse_units
from atlas_pipeline.stages.sampling.check import CHECK
from atlas_pipeline.stages.sampling.index import INDEX
from atlas_pipeline.stages.sampling.sample import SAMPLE
from atlas_pipeline.views.class_names import attributed_classes, other_names

CHECKS = frozenset({CHECK.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a command that decide how to run; they never affect a result.

    only: names of stages to make, with their missing inputs; None: all. no_deps: refuse missing inputs
    instead of making them. force: make the stages anew. local_cluster: see `executors.LocalCluster`.
    cluster: address of a Dask scheduler. quiet: show no progress.
    """

    only: frozenset[str] | None = None
    no_deps: bool = False
    force: bool = False
    local_cluster: LocalCluster = 0
    cluster: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigError: two kinds of cluster at once."""
        if self.cluster and self.local_cluster not in ("auto", 0):
            raise ConfigError("--cluster and --local-cluster exclude each other; give one")


def make(
    config: Config,
    steps: Sequence[Step],
    store: Store,
    options: RunOptions,
    note: Callable[[], None] = lambda: None,
    between: Callable[[Sequence[Step]], str | None] = nothing_to_say,
) -> int:
    """Make the steps that are not done.

    Args:    note: called before anything is made, and again after the images are listed, because the listing
             decides the fingerprints of later artefacts. between: see `engine.run`.
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
    # This machine may lack hardware that the workers of a cluster have.
    device = configured if options.cluster else resolved_device(configured)
    own_device = device if uses_gpu_itself(device, options.local_cluster, options.cluster) else "cpu"
    check_engine(config.project.engine, device)
    checks = _checks(left, steps, store, options)
    if not options.cluster and made_elsewhere(checks, store, device):
        forced = forced | CHECKS
    if options.only != CHECKS and CHECK.name not in forced:
        refuse_failed(checks, store, cached=True)
    bank_lines = refuse_bank(config, left)
    if options.only is None or options.only - {INDEX.name}:
        with current_gpu(own_device):
            _check_names(config, steps, store, own_device)
            refuse_judge(config, left, own_device)
            refuse_units(config, left, own_device)
            refuse_dreams(config, left, own_device)
            refuse_directions(config, left, own_device)
    with (
        current_gpu(own_device),
        executor_for(device, options.local_cluster, options.cluster) as executor,
        engine.open_reporter(quiet=options.quiet) as reporter,
    ):
        run = partial(
            engine.run,
            store=store,
            no_deps=options.no_deps,
            executor=executor,
            runtime=_runtime(config, device),
            reporter=reporter,
            between=between,
        )
        reporter.expect([step.stage.name for step in left])
        _say_device(configured, device, options, reporter)
        for line in filter(None, (weights_set_note(config), *bank_lines)):
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
            run = partial(run, memory_of=_check_needs(config, left, store, own_device, options, reporter))
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
) -> Callable[[Step], int]:
    """Refuse a run that lacks disk or memory, and warn of empty grids; the memory of a task of each step."""
    needs = needs_by_siblings(config, left, store, device)
    total = total_needs(needs)
    if line := refuse_unmet(config, total, is_here=options.cluster is None):
        reporter.say(line)
    for line in total.warnings:
        reporter.say(line)
    return memory_of_tasks(needs)


def _runtime(config: Config, device: str) -> engine.Runtime:
    run = config.run
    return engine.Runtime(
        device=device,
        batch_size=None if run.batch_size == "auto" else run.batch_size,
        workers=None if run.workers == "auto" else run.workers,
    )
