"""What a run will need on disk and in memory, known before its work starts; refused where it is not there."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas_pipeline import engine
from atlas_pipeline.config.network import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step, Store
from atlas_pipeline.engine.location import disk_errors, location_of
from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.errors import ResourceError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.mosaic import icon_px_within
from atlas_pipeline.runs.memory_preflight import MemoryNeed, memory_needs, refuse_unmet_memory
from atlas_pipeline.stages.atlas.cell_sums import ROWS_A_TASK
from atlas_pipeline.views.classes import attributed_classes, other_names

# Beside the vectors of a sample's row: image, label, position and size of the map.
_PLACE_BYTES = 20
# Of a layout's row: image, position, x and y.
_LAYOUT_BYTES = 20
# Others write little beside them, and need no memory to speak of; but for large pictures and fine grids.
NEEDY_STAGES = ("sample", "neighbors", "project")
_FINE_GRID = 160
_LARGE_PICTURE_BYTES = 10**9
# Of a pixel and those that stand for it in the levels of a pyramid: PNG at worst, the others as measured.
_PIXEL_BYTES = {"png": 4, "jpg": 1, "webp": 1}
_VECTORS = ("activation", "attribution")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """disk_bytes: what is still to be written. memory: of the largest tasks."""

    disk_bytes: int
    memory: Sequence[MemoryNeed]


def needs_of(config: Config, left: Collection[Step], store: Store, device: str) -> Needs:
    """What the steps still need, uncompressed: zstd takes a third or so off a sample.

    Icons and most pictures are small beside samples, and so are selections: none of them is counted.

    Args: left: see `engine.left`; the index is made.
    """
    steps = [step for step in left if step.stage.name == "sample" or _is_of_whole_layer(step)]
    widths = _widths(config, {_sample_of(step) for step in steps}, store, device)
    num_images = max((_num_images(_sample_of(step), store) for step in steps), default=0)
    num_rows = num_images * config.sample.positions_per_image
    disk_bytes = sum(map(_large_picture_bytes, left))
    for step in steps:
        disk_bytes += _disk_bytes(config, step, store, num_rows, sum(widths[_sample_of(step)]))
    memory = memory_needs(config, steps, num_rows, {step: widths[_sample_of(step)] for step in steps})
    return Needs(disk_bytes=disk_bytes, memory=memory)


def refuse_unmet(config: Config, needs: Needs, *, num_workers: int) -> str | None:
    """One line that says what is needed beside what there is; None where that is nothing.

    Args:   num_workers: processes with a task each; 0: on other machines, whose memory is not known.
    Raises: ResourceError: there is less disk, or less memory, than is needed.
    """
    said = []
    free = _free_bytes(config.run.workspace)
    if needs.disk_bytes and free is not None:
        will_write = f"the run will write up to {size_text(needs.disk_bytes)} to {config.run.workspace}"
        if needs.disk_bytes > free:
            raise ResourceError(
                f"{will_write}, and {size_text(free)} are free there; lower images.num_images or the largest "
                f"of grid.sizes, set sample.attribution to none or to a list of classes, or choose another "
                f"run.workspace"
            )
        said.append(f"{will_write} ({size_text(free)} free)")
    if num_workers and (of_memory := refuse_unmet_memory(needs.memory, num_workers)):
        said.append(of_memory)
    return "; ".join(said) or None


def is_needy(step: Step) -> bool:
    """Whether it is worth asking what a step that is to be made needs."""
    is_fine = step.stage.name in ("cell_sums", "bin") and int(step.grid or 0) >= _FINE_GRID
    return step.stage.name in NEEDY_STAGES or is_fine or bool(_large_picture_bytes(step))


def _large_picture_bytes(step: Step) -> int:
    """Of a picture of a whole grid, in the cache and in the run's folder; 0 of one that is not large."""
    if step.stage.name not in ("stitch", "deep_zoom"):
        return 0
    grid = int(step.config["grid"])
    side_px = grid * icon_px_within(grid, step.config["icon_px"])
    num_bytes = 2 * side_px**2 * _PIXEL_BYTES[step.config.get("format", "png")]
    return num_bytes if num_bytes > _LARGE_PICTURE_BYTES else 0


def _is_of_whole_layer(step: Step) -> bool:
    return step.view == "all" and "sample" in step.inputs


def _sample_of(step: Step) -> Step:
    return step if step.stage.name == "sample" else step.inputs["sample"]


def _num_images(sample: Step, store: Store) -> int:
    index = engine.artefact_of(sample.inputs["index"], store)
    return 0 if index is None else index.num_rows


def _disk_bytes(config: Config, step: Step, store: Store, num_rows: int, width: int) -> int:
    """What is left to write of one step. width: channels and classes of a row."""
    match step.stage.name:
        case "sample":
            return int(_share_left(step, store) * num_rows * (2 * width + _PLACE_BYTES))
        case "neighbors":
            return num_rows * config.project.num_neighbors * 8
        case "project":
            return num_rows * _LAYOUT_BYTES
        case "cell_sums" | "bin":
            # A vector a cell in float32; of the sums one a cell and range of rows.
            cells = min(int(step.grid or 0) ** 2, num_rows)
            return cells * width * 4 * (-(-num_rows // ROWS_A_TASK) if step.stage.name == "cell_sums" else 1)
        case _:
            return 0


def _share_left(sample: Step, store: Store) -> float:
    *_, state = engine.plan([sample], store)
    if state.state == "done" or not state.tasks:
        return 1.0  # made anew by force, or not begun
    return 1 - state.tasks_done / state.tasks


def _widths(
    config: Config, samples: Collection[Step], store: Store, device: str
) -> dict[Step, tuple[int, int]]:
    """Channels and attributed classes of each layer: of those that are sampled as they are stored."""
    widths, unsampled = {}, []
    for sample in samples:
        artefact = engine.artefact_of(sample, store)
        if artefact is None:
            unsampled.append(sample)
            continue
        lists = {field.name: field.type.list_size for field in artefact.schema if field.name in _VECTORS}
        widths[sample] = lists["activation"], lists.get("attribution", 0)
    return widths | _widths_by_network(config, unsampled, device)


def _widths_by_network(config: Config, samples: Sequence[Step], device: str) -> dict[Step, tuple[int, int]]:
    if not samples:
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
        maps = feature_maps(network, black, [str(sample.layer) for sample in samples])
    return {sample: (maps[str(sample.layer)].shape[1], len(classes or ())) for sample in samples}


def _free_bytes(workspace: str) -> int | None:
    """Free space where the workspace is or will be; None for a URL, which does not tell."""
    place = location_of(workspace)
    if not isinstance(place, Path):
        return None
    folder = place.absolute()
    with disk_errors(place):
        while not folder.exists():
            folder = folder.parent
    return shutil.disk_usage(folder).free
