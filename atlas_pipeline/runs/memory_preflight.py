"""What the largest tasks of a run need in memory; refused where it is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step
from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.errors import ResourceError
from atlas_pipeline.layout.memory import aligned_layout_bytes, layout_bytes
from atlas_pipeline.runs.devices import available_memory_bytes
from atlas_pipeline.stages.atlas.cell_sums import ROWS_A_TASK

# What is below is not worth a line, but for layouts, whose memory grows fastest.
_LARGE_BYTES = 10**9
# Of a sample's value: float32 while the task gathers it, float16 when it is written, and one layer's copy.
_SAMPLE_VALUE_BYTES = 8
# Of a sum's value, float64.
_SUM_VALUE_BYTES = 8
_FEWER_VALUES = "set sample.attribution to none or to a list of classes"


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What a task needs, at its peak. task: in words. remedy: what lowers it. num_tasks: such ones.

    of_sampling: whether it is over before any other of these begins.
    """

    task: str
    num_bytes: int
    remedy: str
    num_tasks: int = 1
    of_sampling: bool = False


def memory_needs(
    config: Config, steps: Collection[Step], num_rows: int, widths: Mapping[Step, tuple[int, int]]
) -> list[MemoryNeed]:
    """Of the steps still to be made: of each layout, and of what else takes a gigabyte.

    Args: steps: of whole layers. num_rows: of a sample. widths: a step's channels and attributed classes.
    """
    others = [*_sampling(config, steps, num_rows, widths), *_binning(steps, num_rows, widths)]
    return [*_layouts(config, steps, num_rows, widths), *(n for n in others if n.num_bytes >= _LARGE_BYTES)]


def refuse_unmet_memory(needs: Collection[MemoryNeed], num_workers: int) -> str | None:
    """One line that says what is needed at once beside what there is; None where that is nothing.

    Args:   num_workers: processes on this machine that have a task each.
    Raises: ResourceError: there is less.
    """
    phases = ([need for need in needs if need.of_sampling == first] for first in (False, True))
    at_once = max((_largest(phase, num_workers) for phase in phases), key=_total)
    if not at_once:
        return None
    needed, free = _total(at_once), available_memory_bytes()
    times = Counter(need.task for need in at_once)
    tasks = ", ".join(f"{count} times {task}" if count > 1 else task for task, count in times.items())
    several = len(at_once) > 1
    said = f"{tasks} {'at once need' if several else 'needs'} about {size_text(needed)} of memory"
    if needed > free:
        fewer = "take fewer than " + f"{num_workers} workers, or " if several else ""
        raise ResourceError(f"{said}, and {size_text(free)} are free; {fewer}{at_once[0].remedy}")
    return f"{said} ({size_text(free)} free)"


def _largest(needs: Collection[MemoryNeed], num_workers: int) -> list[MemoryNeed]:
    each = (need for need in needs for _ in range(min(need.num_tasks, num_workers)))
    return sorted(each, key=lambda need: -need.num_bytes)[:num_workers]


def _total(needs: Collection[MemoryNeed]) -> int:
    return sum(need.num_bytes for need in needs)


def _layouts(
    config: Config, steps: Collection[Step], num_rows: int, widths: Mapping[Step, tuple[int, int]]
) -> Iterator[MemoryNeed]:
    """Peak memory of the stages neighbors and project, a layout once."""
    project, layers = config.project, len(config.layers)
    if project.method != "umap":
        return
    found = {}
    for step in steps:
        if project.align and step.stage.name == "project":
            name = f"{layers} layers together"
            found[name] = aligned_layout_bytes(num_rows, layers, project.num_neighbors, project.fit_on)
        elif step.stage.name in ("neighbors", "project"):
            channels, _ = widths[step]
            found[str(step.layer)] = layout_bytes(num_rows, channels, project.num_neighbors, project.fit_on)
    remedy = "fit it on a subset (project.fit_on), or lower images.num_images"
    for name, num_bytes in found.items():
        yield MemoryNeed(f"the layout of {name}", num_bytes, remedy)


def _sampling(
    config: Config, steps: Collection[Step], num_rows: int, widths: Mapping[Step, tuple[int, int]]
) -> Iterator[MemoryNeed]:
    """A task holds the rows of all layers of its shard."""
    width = sum(sum(widths[step]) for step in steps if step.stage.name == "sample")
    shard_rows = max(1, config.sample.shard_size * config.sample.positions_per_image)
    yield MemoryNeed(
        f"sampling {config.sample.shard_size:,} images",
        min(shard_rows, num_rows) * width * _SAMPLE_VALUE_BYTES,
        f"lower sample.shard_size, or {_FEWER_VALUES}",
        num_tasks=-(-num_rows // shard_rows),
        of_sampling=True,
    )


def _binning(
    steps: Collection[Step], num_rows: int, widths: Mapping[Step, tuple[int, int]]
) -> Iterator[MemoryNeed]:
    """All grids of a layer are summed at once, and one after the other is copied; as in `bin`."""
    values, largest = Counter[str](), Counter[str]()
    for step in steps:
        if step.stage.name in ("cell_sums", "bin"):
            name, cells = str(step.layer), min(int(step.grid or 0) ** 2, num_rows)
            largest[name] = max(largest[name], cells * sum(widths[step]))
            values[name] += cells * sum(widths[step]) if step.stage.name == "cell_sums" else 0
    for name in largest:
        yield MemoryNeed(
            f"binning {name}",
            max(values[name] + largest[name], 2 * largest[name]) * _SUM_VALUE_BYTES,
            f"lower the largest of grid.sizes, or {_FEWER_VALUES}",
            num_tasks=-(-num_rows // ROWS_A_TASK),
        )
