"""invert: make each cell's icon by feature inversion of its mean activation, and measure its fidelity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task, describe
from atlas_pipeline.inversion.icon_numbers import (
    RealCrops,
    legibility_numbers,
    noise_activation,
    real_crops,
    round_trip_on_device,
    unit_rows,
)
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.models.network_cache import opened_cut
from atlas_pipeline.numerics import fidelity
from atlas_pipeline.pictures.icon_starts import Starts, made_with_starts, nearest_starts
from atlas_pipeline.pictures.png_codec import over_ground, pixels, pngs_of
from atlas_pipeline.pictures.real_magnitude import real_magnitude
from atlas_pipeline.tables.artefact_cache import once_per_artefact
from atlas_pipeline.tables.columns import column_matrix, columns_of_measures
from atlas_pipeline.tables.icon_bank import FinishedIcons, bank_digest, bank_folder, read_bank

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.inversion import Icons

# A killed run loses at most one task per worker: about a minute's work of a CPU.
CELLS_PER_TASK = 128
# Most tasks of a call on a GPU: four batches of 1,024 icons.
MOST_TASKS_TOGETHER = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertStepConfig:
    """invert: see `inversion.InversionSettings`; warm_steps is None for icons without a warm start.

    bank: digest of the bank of icons to start from. bank_cosine: see `config.sections.InvertConfig`; both are
    None without a bank.
    """

    model: Mapping[str, Any]
    layer: str
    seed: int
    invert: Mapping[str, Any]
    bank: str | None = None
    bank_cosine: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertInputs:
    """The cells, the layer's precision and real crops; with a warm start, also the next coarser grid."""

    bin: Artefact
    whiten: Artefact
    crops: Artefact
    coarser_bin: Artefact | None = None
    coarser_icons: Artefact | None = None


InvertJob = Job[InvertStepConfig, InvertInputs]


def _split(job: InvertJob) -> list[Task]:
    num_cells = job.inputs.bin.num_rows
    # A grid over a selection may have no cells; it then has one empty task.
    num_tasks = max(1, -(-num_cells // CELLS_PER_TASK))
    # Tasks of equal size: workers would sit idle while one of them finishes an extra small task.
    ends = [index * num_cells // num_tasks for index in range(num_tasks + 1)]
    return [{"start": start, "stop": stop} for start, stop in pairwise(ends)]


def icon_seed(seed: int, row: int, col: int) -> int:
    """The 63-bit seed of a cell's icon; it depends on the run's seed and the cell alone."""
    digest = hashlib.blake2b(f"{seed}/{row}/{col}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _compute(task: Task, jobs: Sequence[InvertJob], runtime: Runtime) -> list[Output]:
    (outputs,) = _compute_together([task], jobs, runtime)
    return outputs


def _compute_together(
    tasks: Sequence[Task], jobs: Sequence[InvertJob], runtime: Runtime
) -> list[list[Output]]:
    (job,) = jobs
    # While the device optimises a batch, a thread measures and encodes the icons of the one before.
    with ThreadPoolExecutor(1, thread_name_prefix="finished-icons") as host:
        finished = [host.submit(_outputs, job, _optimised(job, batch, runtime)) for batch in _batches(tasks)]
        return [[output] for outputs in finished for output in outputs.result()]


def _batches(tasks: Sequence[Task]) -> list[Sequence[Task]]:
    """The tasks, in order, in the fewest batches of equal size that the device can optimise at once."""
    from atlas_pipeline.inversion.batch_memory import LARGEST_BATCH

    num_icons = sum(map(_num_icons, tasks))
    num_batches = min(len(tasks), max(1, -(-num_icons // LARGEST_BATCH)))
    ends = [index * len(tasks) // num_batches for index in range(num_batches + 1)]
    return [tasks[start:stop] for start, stop in pairwise(ends)]


def _num_icons(task: Task) -> int:
    return task["stop"] - task["start"]


@dataclass(frozen=True, slots=True, eq=False)
class _Finished:
    """Icons of some tasks, in order, with the numbers that the device measured."""

    tasks: Sequence[Task]
    cells: np.ndarray
    """(icon,) int64: number of each icon's cell."""
    icons: Icons
    noise: np.ndarray
    """(noise image, channel) float32."""
    round_trip: np.ndarray
    """(icon,) int32."""
    is_banked: np.ndarray
    """(icon,) bool: whether it started from an icon of the bank."""
    shift_px: int
    """Pixels by which icons are moved before the network sees them, see `inversion.placement`."""


def _optimised(job: InvertJob, tasks: Sequence[Task], runtime: Runtime) -> _Finished:
    import torch

    from atlas_pipeline.inversion import InversionSettings, invert
    from atlas_pipeline.inversion.placement import placed, shift_px_of

    settings = InversionSettings(**job.config.invert)
    grid = _cells(job.inputs.bin)
    cells = np.concatenate([np.arange(task["start"], task["stop"]) for task in tasks])
    rows, cols, means = grid.rows[cells], grid.cols[cells], grid.means[cells]
    precision = _whitening(job.inputs.whiten).precision if settings.whitening else None
    cut = opened_cut(job.settings.model, job.config.layer, runtime.device)
    feature_map = placed(cut, settings.size_px, runtime.device)
    seeds = [icon_seed(job.config.seed, int(r), int(c)) for r, c in zip(rows, cols, strict=True)]

    def made(which: np.ndarray, start: np.ndarray | None) -> Icons:
        return invert(
            feature_map,
            torch.tensor(means[which]),
            seeds=[seeds[icon] for icon in which],
            settings=settings,
            precision=None if precision is None else torch.tensor(precision),
            start=None if start is None else torch.tensor(start),
            magnitude=real_magnitude(job.inputs.crops, settings) if settings.image == "maco" else None,
            device=runtime.device,
            batch_size=runtime.batch_size,
            advance=runtime.advance,
        )

    starts = _starts(job, means, torch.get_num_threads())
    icons = made_with_starts(made, starts)
    return _Finished(
        tasks,
        cells,
        icons,
        noise_activation(feature_map, settings.size_px, job.config.seed, runtime.device),
        _round_trip(job, icons.activation.numpy(), cells, runtime.device),
        starts.is_banked,
        shift_px_of(feature_map),
    )


def _outputs(job: InvertJob, finished: _Finished) -> list[Output]:
    """The output of each task."""
    import torch

    threads = torch.get_num_threads()
    grid, crops = _cells(job.inputs.bin), _real_crops(job.inputs.crops, threads)
    whitening = _whitening(job.inputs.whiten)
    images, activation = finished.icons.images.numpy(), finished.icons.activation.numpy()
    means = grid.means[finished.cells]
    table = pa.table(
        {
            "row": grid.rows[finished.cells],
            "col": grid.cols[finished.cells],
            "icon": pa.array(pngs_of(images, threads), pa.binary()),
            "fidelity": fidelity.fidelity(activation, means),
            "fidelity_centred": fidelity.fidelity_centred(activation, means, whitening.mean),
            "fidelity_whitened": fidelity.fidelity_whitened(activation, means, whitening.root),
            "round_trip": finished.round_trip,
            "noise": fidelity.chance_fidelity(finished.noise, means),
            "objective": finished.icons.objective.numpy(),
            "steps": finished.icons.steps.numpy(),
            **legibility_numbers(over_ground(images, MID_GREY), crops.statistics, threads),
        }
    )
    ends = accumulate(map(_num_icons, finished.tasks), initial=0)
    return [
        Output(
            table=table.slice(start, stop - start),
            notes={"real_crops": crops.numbers, "shift_px": finished.shift_px}
            | _banked(job, finished.is_banked[start:stop]),
        )
        for start, stop in pairwise(ends)
    ]


def _banked(job: InvertJob, is_banked: np.ndarray) -> dict[str, int]:
    """The number of icons that started from the bank, for the notes; nothing without a bank."""
    return {} if job.config.bank is None else {"num_banked": int(is_banked.sum())}


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The cells of a grid: rows and cols (cell,) int16, means (cell, channel)."""

    rows: np.ndarray
    cols: np.ndarray
    means: np.ndarray


# Two: a job's cells, and those of the coarser grid that its icons start from.
@once_per_artefact(keep=2)
def _cells(cells: Artefact) -> _Cells:
    table = cells.read(["row", "col", "activation"])
    return _Cells(table["row"].to_numpy(), table["col"].to_numpy(), column_matrix(table, "activation"))


@once_per_artefact(keep=1)
def _unit_means(cells: Artefact, device: str) -> torch.Tensor:
    return unit_rows(_cells(cells).means, device)


@dataclass(frozen=True, slots=True, eq=False)
class _Whitening:
    """A layer's mean (channel,), its precision (channel, channel), and its root for `fidelity_whitened`."""

    mean: np.ndarray
    precision: np.ndarray
    root: np.ndarray


@once_per_artefact(keep=2)
def _whitening(whiten: Artefact) -> _Whitening:
    table = whiten.read()
    precision = column_matrix(table, "precision")
    return _Whitening(table["mean"].to_numpy(), precision, fidelity.metric_root(precision))


@once_per_artefact(keep=2)
def _real_crops(crops: Artefact, num_threads: int) -> RealCrops:
    return real_crops(_pixels_of(crops, "crop", num_threads), num_threads)


def _pixels_of(pictures: Artefact, column: str, num_threads: int) -> np.ndarray:
    return pixels(pictures.read([column])[column], num_threads)


@once_per_artefact(keep=1)
def _icon_files(icons: Artefact) -> pa.ChunkedArray:
    return icons.read(["icon"])["icon"]


def _starts(job: InvertJob, means: np.ndarray, num_threads: int) -> Starts:
    """The start images of the icons: those of the nearest directions in the coarser grid and the bank."""
    coarser = bank = None
    if job.inputs.coarser_bin is not None and job.inputs.coarser_icons is not None:
        coarser = FinishedIcons(_cells(job.inputs.coarser_bin).means, _icon_files(job.inputs.coarser_icons))
    if job.config.bank is not None:
        bank = read_bank(job.settings.bank, job.config.bank, job.config.layer)
    return nearest_starts(means, coarser, bank, job.config.bank_cosine or 0.0, num_threads)


def _round_trip(job: InvertJob, activation: np.ndarray, which: np.ndarray, device: str) -> np.ndarray:
    if device == "cpu":
        return fidelity.round_trip(activation, _cells(job.inputs.bin).means, which)
    return round_trip_on_device(activation, _unit_means(job.inputs.bin, device), which)


def _summarise(job: InvertJob, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if not notes:
        return {}
    # The numbers of the real crops and the shift are equal for all tasks.
    banked = [note["num_banked"] for note in notes if "num_banked" in note]
    return {**notes[0], **({"num_banked": sum(banked)} if banked else {})}


def _remarks(step: Step, icons: Artefact) -> Iterator[str]:
    if step.config.bank is not None:
        yield (
            f"{describe(step)}: {icons.notes.get('num_banked', 0):,} of {icons.num_rows:,} icons started "
            f"from an icon of bank {step.config.bank}"
        )


INVERT = Stage(
    name="invert",
    version=5,
    config=InvertStepConfig,
    inputs=InvertInputs,
    unit="icons",
    split=_split,
    size=_num_icons,
    compute=_compute,
    compute_together=_compute_together,
    most_together=MOST_TASKS_TOGETHER,
    summarise=_summarise,
    columns=(
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("icon", pa.binary()),
        Column("steps", pa.int32()),
        Column("objective", pa.float32()),
        *columns_of_measures("invert"),
    ),
    uses_device=True,
    commands=("invert",),
    is_checked=True,
    remarks=_remarks,
)


def steps(config: Config, grids: Mapping[int, Step], precision: Step, crops: Step) -> dict[int, Step]:
    """The icons of every grid of a view; each grid starts from the next coarser grid listed before it.

    With a bank, an icon starts from it where its nearest direction is nearer than those of the coarser grid.
    Only grids listed before count, so that adding a grid at the end leaves the other icons unchanged.
    """
    made: dict[int, Step] = {}
    for size, cells in grids.items():
        inputs = {"bin": cells, "whiten": precision, "crops": crops}
        invert = config.invert.of_icons()
        coarser = max((other for other in made if other < size), default=None)
        if coarser is not None and config.invert.warm_steps is not None:
            inputs |= {"coarser_bin": grids[coarser], "coarser_icons": made[coarser]}
        elif config.invert.bank is None:
            # warm_steps has no effect without a warm start, so it must not change the fingerprint.
            invert["warm_steps"] = None
        made[size] = _step(config, cells, inputs, invert)
    return made


def _step(config: Config, cells: Step, inputs: Mapping[str, Step], invert: Mapping[str, Any]) -> Step:
    bank, workspace, settings = config.invert.bank, config.run.workspace, run_settings(config)
    if bank is not None:
        settings = replace(settings, bank=bank_folder(workspace, bank))
    return Step(
        stage=INVERT,
        config=InvertStepConfig(
            model=model_config(config),
            layer=str(cells.layer),
            seed=config.seed,
            invert=invert,
            bank=None if bank is None else bank_digest(workspace, bank),
            bank_cosine=None if bank is None else config.invert.bank_cosine,
        ),
        inputs=inputs,
        settings=settings,
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
