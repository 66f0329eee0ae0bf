"""Estimate the disk and memory that a run will need, and refuse a run for which there is too little.

Each stage estimates the needs of its own steps (`Stage.needs`); this module adds them up.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from atlas_pipeline import engine
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import MemoryNeed, Needs, Step, Store
from atlas_pipeline.engine.location import disk_errors, location_of
from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.errors import ResourceError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.runs.memory_preflight import refuse_unmet_memory
from atlas_pipeline.stages.sampling.sample import SAMPLE
from atlas_pipeline.tables.extent import Extent
from atlas_pipeline.views.class_names import attributed_classes, other_names

_VECTORS = ("activation", "attribution")


def needs_by_siblings(
    config: Config, left: Collection[Step], store: Store, device: str
) -> list[tuple[Sequence[Step], Needs]]:
    """The disk and memory that the steps still need, for each group of steps that compute together.

    Disk is counted uncompressed; zstd saves about a third of a sample.

    Args: left: see `engine.left`; the index must be finished.
    """
    counted = [step for step in left if step.stage.needs is not None]
    extents = _extents(config, counted, store, device)
    found = list[tuple[Sequence[Step], Needs]]()
    for siblings in _siblings(counted):
        assert siblings[0].stage.needs is not None
        needs = siblings[0].stage.needs(siblings, [extents.get(step) for step in siblings])
        found.append((siblings, needs))
    return found


def total_needs(needs_of_all: Iterable[tuple[Sequence[Step], Needs]]) -> Needs:
    """The disk of all steps together, the memory of each kind of task, and each warning once."""
    disk_bytes, memory, warnings = 0, dict[str, MemoryNeed](), dict[str, None]()
    for _, needs in needs_of_all:
        disk_bytes += needs.disk_bytes
        # All layers of a run have the same grids.
        warnings |= dict.fromkeys(needs.warnings)
        for need in needs.memory:
            if need.task not in memory or need.num_bytes > memory[need.task].num_bytes:
                memory[need.task] = need
    return Needs(disk_bytes, tuple(memory.values()), tuple(warnings))


def memory_of_tasks(needs_of_all: Iterable[tuple[Sequence[Step], Needs]]) -> Callable[[Step], int]:
    """The peak memory of a task of a step, in bytes; 0 for steps whose tasks need too little to count."""
    found = {
        _labels(step): max((need.num_bytes for need in needs.memory), default=0)
        for siblings, needs in needs_of_all
        for step in siblings
    }
    return lambda step: found.get(_labels(step), 0)


def _labels(step: Step) -> tuple[str, str | None, str | None, int | None]:
    # The engine works on copies of the steps, which compare by identity.
    return step.stage.name, step.layer, step.view, step.grid


def refuse_unmet(config: Config, needs: Needs, *, is_here: bool) -> str | None:
    """One line on the disk and memory needed and free; None if nothing is needed.

    Args:   is_here: whether tasks run on this machine; the memory of others is unknown.
    Raises: ResourceError: less disk or memory is free than is needed.
    """
    lines = []
    free = _free_bytes(config.run.workspace)
    if needs.disk_bytes and free is not None:
        will_write = f"the run will write up to {size_text(needs.disk_bytes)} to {config.run.workspace}"
        if needs.disk_bytes > free:
            raise ResourceError(
                f"{will_write}, and {size_text(free)} are free there; lower images.num_images or the largest "
                f"of grid.sizes, set sample.attribution to none or to a list of classes, or choose another "
                f"run.workspace"
            )
        lines.append(f"{will_write} ({size_text(free)} free)")
    if is_here and (memory_line := refuse_unmet_memory(needs.memory)):
        lines.append(memory_line)
    return "; ".join(lines) or None


def _siblings(steps: Iterable[Step]) -> list[list[Step]]:
    """Groups of steps that compute together, see `Step.shared`; every other step alone."""
    groups = defaultdict[object, list[Step]](list)
    for step in steps:
        common = tuple(source for role, source in step.inputs.items() if role not in step.own_inputs)
        groups[(step.stage.name, step.shared, common) if step.shared else step].append(step)
    return list(groups.values())


def _extents(config: Config, steps: Sequence[Step], store: Store, device: str) -> dict[Step, Extent]:
    """The size of the layer that each step works on.

    It is that of the step's sample, or of the images themselves where a step reads a layer from them. Steps
    on selections, which are small, are left out.
    """
    read = {
        step: step.inputs.get("sample", step)
        for step in steps
        if "select" not in step.inputs and step.layer and ("sample" in step.inputs or "index" in step.inputs)
    }
    # An index is missing with --no-deps: the engine refuses that with a message of its own.
    read = {step: of for step, of in read.items() if engine.artefact_of(of.inputs["index"], store)}
    widths = _widths(config, set(read.values()), store, device)
    return {step: _extent(config, of, widths[of], store) for step, of in read.items()}


def _extent(config: Config, read: Step, width: tuple[int, int], store: Store) -> Extent:
    index = engine.artefact_of(read.inputs["index"], store)
    assert index is not None, "steps without an index are left out"
    per_image = config.sample.positions_per_image if read.stage.name == SAMPLE.name else 1
    return Extent(
        num_rows=index.num_rows * per_image,
        num_channels=width[0],
        num_classes=width[1],
        share_left=_share_left(read, store),
    )


def _share_left(read: Step, store: Store) -> float:
    *_, state = engine.plan([read], store)
    if state.state == "done" or not state.tasks:
        return 1.0  # forced, or not started
    return 1 - state.tasks_done / state.tasks


def _widths(config: Config, read: Collection[Step], store: Store, device: str) -> dict[Step, tuple[int, int]]:
    """Channels and attributed classes of each layer, read from the artefact if the layer is sampled."""
    widths, unsampled = {}, []
    for step in read:
        artefact = engine.artefact_of(step, store)
        if artefact is None or "activation" not in artefact.schema.names:
            unsampled.append(step)
            continue
        lists = {
            field.name: field.type.list_size
            for field in artefact.schema
            if field.name in ("activation", "attribution")
        }
        widths[step] = lists["activation"], lists.get("attribution", 0)
    return widths | _widths_by_network(config, unsampled, device)


def _widths_by_network(config: Config, read: Sequence[Step], device: str) -> dict[Step, tuple[int, int]]:
    if not read:
        return {}
    import torch

    from atlas_pipeline.models.capture import feature_maps

    spec, images = model_spec(config), config.images
    network = opened_network(spec, device)
    others = other_names(spec, images.source, images.path, network.num_classes, images.label_column)
    classes = attributed_classes(config.sample.attribution, network, others)
    side = network.preprocess.crop
    with torch.no_grad():
        black = torch.zeros(1, 3, side, side, device=network.device)
        maps = feature_maps(network, black, [str(step.layer) for step in read])
    return {step: (maps[str(step.layer)].shape[1], len(classes or ())) for step in read}


def _free_bytes(workspace: str) -> int | None:
    """Free space where the workspace is or will be; None for a URL, where it is unknown."""
    place = location_of(workspace)
    if not isinstance(place, Path):
        return None
    folder = place.absolute()
    with disk_errors(place):
        while not folder.exists():
            folder = folder.parent
    return shutil.disk_usage(folder).free
