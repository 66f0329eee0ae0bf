"""project: lay activations out in the unit square, x to the right and y up; measure the layout's quality.

With ``project.align`` all layers are laid out together, so that an image keeps its place across layers.
With ``project.fit_on`` UMAP is fitted on a random subset, and the other activations are placed among it.

In a class comparison x is the axis between the two classes, and only y comes from the layout method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, MemoryNeed, Needs, ViewerFacts, many
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.layout.fitted import fitted_rows
from atlas_pipeline.layout.layout_memory import FEWER_ACTIVATIONS, aligned_layout_bytes, layout_bytes
from atlas_pipeline.numerics.alignment import layout_alignment
from atlas_pipeline.numerics.comparison import comparison_axis
from atlas_pipeline.numerics.near_rows import Metric
from atlas_pipeline.numerics.normalise import normalise_layout, normalise_together
from atlas_pipeline.tables.extent import Extent
from atlas_pipeline.tables.layout_notes import layout_notes, layout_remarks
from atlas_pipeline.tables.neighbor_table import near_vertices
from atlas_pipeline.tables.population import ActivationBlocks, population
from atlas_pipeline.views.view import View

if TYPE_CHECKING:
    from atlas_pipeline.layout.layout_result import LayoutResult
    from atlas_pipeline.layout.umap_layout import UmapSettings

# A row holds image, position, x and y.
_ROW_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedConfig:
    """layer: number of this layer among those laid out together.

    regularisation, window_size: see `config.sections.ProjectConfig`.
    """

    layer: int
    num_layers: int
    regularisation: float
    window_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TsneStepConfig:
    """compared: whether x is a comparison's axis; None without a selection.

    The other fields: see `config.sections.ProjectConfig`.
    """

    method: str
    metric: Metric
    seed: int
    perplexity: float
    compared: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UmapStepConfig:
    """compared: whether x is a comparison's axis; None without a selection.

    The other fields: see `config.sections.ProjectConfig`.
    """

    method: str
    metric: Metric
    seed: int
    num_neighbors: int
    min_dist: float
    num_epochs: int | None
    engine: Literal["auto", "cpu", "parallel", "gpu"]
    fit_on: int | None
    compare_seeds: bool
    compared: bool | None = None
    aligned: AlignedConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectInputs:
    """The activations and, for UMAP, their neighbours.

    all_samples, all_neighbors: by number of the layer, for layers laid out together.
    """

    sample: Artefact
    select: Artefact | None = None
    neighbors: Artefact | None = None
    all_samples: Mapping[str, Artefact] = many("sample")
    all_neighbors: Mapping[str, Artefact] = many("neighbors")


ProjectJob = Job[TsneStepConfig | UmapStepConfig, ProjectInputs]


def _population(job: ProjectJob) -> Artefact:
    return population(job.inputs.sample, job.inputs.select)


def _compute(task: Task, jobs: Sequence[ProjectJob], runtime: Runtime) -> list[Output]:
    aligned = isinstance(jobs[0].config, UmapStepConfig) and jobs[0].config.aligned is not None
    outputs = _aligned(jobs, runtime.device) if aligned else [_alone(job, runtime.device) for job in jobs]
    runtime.advance(task["rows"])
    return outputs


def _alone(job: ProjectJob, device: str) -> Output:
    from atlas_pipeline.layout.distinct import separate_equal
    from atlas_pipeline.layout.layout_result import tsne_result, umap_result

    chosen, config = _population(job), job.config
    num_dimensions = 1 if config.compared else 2
    blocks = ActivationBlocks(chosen)
    if isinstance(config, TsneStepConfig):
        result = tsne_result(blocks, config.metric, config.seed, num_dimensions, config.perplexity)
    else:
        assert job.inputs.neighbors is not None
        near, settings = near_vertices(job.inputs.neighbors), _umap_settings(config, device)
        result = umap_result(blocks, near, settings, _seeds(config), num_dimensions)
    # Normalise before equal activations are placed: each vertex counts once in the bounds for outliers.
    layout = separate_equal(normalise_layout(result.places), result.same, config.seed)
    if config.compared:
        assert job.inputs.select is not None
        select = job.inputs.select
        x = comparison_axis(select.read(["value"])["value"].to_numpy(), select.notes["scale"])
        layout = np.column_stack([x, layout])
    return _output(job, chosen, layout, result, result.agreement, device)


def _umap_settings(config: UmapStepConfig, device: str) -> UmapSettings:
    from atlas_pipeline.layout.umap_layout import UmapSettings

    return UmapSettings(
        num_neighbors=config.num_neighbors,
        min_dist=config.min_dist,
        metric=config.metric,
        num_epochs=config.num_epochs,
        engine=config.engine,
        device=device,
    )


def _refuse_different_images(samples: Sequence[Artefact]) -> None:
    first, *others = samples
    images = first.read(["image_id"])
    for other in others:
        if not other.read(["image_id"]).equals(images):
            raise ImagesError(
                f"layers '{first.config['layer']}' and '{other.config['layer']}' were sampled from different "
                "images (some could not be read at one time and could at another), and project.align needs "
                "the same images in all layers; sample both anew: atlas sample CONFIG --force"
            )


def _seeds(config: UmapStepConfig) -> list[int]:
    return [config.seed, config.seed + 1] if config.compare_seeds else [config.seed]


def _aligned(jobs: Sequence[ProjectJob], device: str) -> list[Output]:
    """Lay out all layers together; return the outputs of the jobs, which are the missing layouts."""
    from atlas_pipeline.layout.distinct import separate_equal
    from atlas_pipeline.layout.layout_result import aligned_umap_results
    from atlas_pipeline.layout.springs import Alignment

    config, inputs = jobs[0].config, jobs[0].inputs
    assert isinstance(config, UmapStepConfig)
    assert config.aligned is not None
    numbers = [str(number) for number in range(config.aligned.num_layers)]
    samples = [inputs.all_samples[number] for number in numbers]
    _refuse_different_images(samples)
    results = aligned_umap_results(
        [ActivationBlocks(sample) for sample in samples],
        [near_vertices(inputs.all_neighbors[number]) for number in numbers],
        fitted_rows(samples[0].num_rows, config.fit_on, config.seed),
        _umap_settings(config, "cpu"),
        Alignment(regularisation=config.aligned.regularisation, window_size=config.aligned.window_size),
        _seeds(config),
    )
    together = normalise_together([result.places for result in results])
    layouts = [
        separate_equal(p, result.same, config.seed) for p, result in zip(together, results, strict=True)
    ]
    return [_aligned_output(job, layouts, results, device) for job in jobs]


def _aligned_output(
    job: ProjectJob, layouts: Sequence[np.ndarray], results: Sequence[LayoutResult], device: str
) -> Output:
    assert isinstance(job.config, UmapStepConfig)
    assert job.config.aligned is not None
    this = job.config.aligned.layer
    figures = dict(results[this].agreement)
    if this + 1 < len(layouts):
        figures |= layout_alignment(layouts[this], layouts[this + 1], job.config.seed)
    return _output(job, job.inputs.sample, layouts[this], results[this], figures, device)


def _output(
    job: ProjectJob,
    chosen: Artefact,
    layout: np.ndarray,
    result: LayoutResult,
    figures: Mapping[str, Any],
    device: str,
) -> Output:
    config = job.config
    notes = layout_notes(
        ActivationBlocks(chosen),
        layout,
        result,
        figures,
        seed=config.seed,
        metric=config.metric,
        device=device,
        perplexity=config.perplexity if isinstance(config, TsneStepConfig) else None,
    )
    table = chosen.read(["image_id", "row", "col"])
    table = table.append_column("x", pa.array(layout[:, 0])).append_column("y", pa.array(layout[:, 1]))
    return Output(table=table, notes=notes)


def _split(job: ProjectJob) -> list[Task]:
    # Layers laid out together share a task. If one of them has fewer rows, the task refuses it.
    samples = job.inputs.all_samples
    return [{"rows": samples["0"].num_rows if samples else _population(job).num_rows}]


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    disk_bytes, memory = 0, []
    for step, extent in zip(steps, extents, strict=True):
        if extent is None:
            continue
        config, num_rows = step.config, extent.num_rows
        disk_bytes += num_rows * _ROW_BYTES
        if isinstance(config, TsneStepConfig):
            continue
        if config.aligned is None:
            task = f"the layout of {step.layer}"
            num_bytes = layout_bytes(num_rows, extent.num_channels, config.num_neighbors, config.fit_on)
        else:
            num_layers = config.aligned.num_layers
            task = f"the layout of {num_layers} layers together"
            num_bytes = aligned_layout_bytes(num_rows, num_layers, config.num_neighbors, config.fit_on)
        memory.append(MemoryNeed(task, num_bytes, FEWER_ACTIVATIONS))
    return Needs(disk_bytes, tuple(memory))


def _uses_device(config: TsneStepConfig | UmapStepConfig) -> bool:
    if isinstance(config, TsneStepConfig) or config.aligned is not None:
        return False
    return config.engine in ("auto", "gpu")


PROJECT = Stage(
    name="project",
    version=4,
    config=(TsneStepConfig, UmapStepConfig),
    inputs=ProjectInputs,
    unit="rows",
    split=_split,
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(
        Column("image_id", pa.int64()),
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("x", pa.float32()),
        Column("y", pa.float32()),
    ),
    uses_device=_uses_device,
    uses_all_cores=True,
    commands=("project",),
    needs=_needs,
    remarks=layout_remarks,
    viewer=lambda artefact: ViewerFacts(
        view={"activations": artefact.num_rows, "layout": artefact.fingerprint}
    ),
)


def step(config: Config, view: View, sample: Step, select: Step | None, neighbors: Step) -> Step:
    """The layout of a view's activations, in one layer. neighbors: used by UMAP only."""
    layout = view.layout
    common: dict[str, Any] = {
        "method": layout.method,
        "metric": config.project.metric,
        "seed": config.seed,
        "compared": None if select is None else view.axis is not None,
    }
    inputs = {"sample": sample, **({"select": select} if select else {})}
    step_config: TsneStepConfig | UmapStepConfig
    if layout.method == "umap":
        inputs["neighbors"] = neighbors
        step_config = UmapStepConfig(
            num_neighbors=layout.num_neighbors,
            min_dist=layout.min_dist,
            num_epochs=config.project.num_epochs,
            engine=config.project.engine,
            fit_on=layout.fit_on,
            compare_seeds=layout.compare_seeds,
            **common,
        )
    else:
        step_config = TsneStepConfig(perplexity=layout.perplexity, **common)
    return Step(stage=PROJECT, config=step_config, inputs=inputs, layer=sample.layer, view=view.name)


def layer_steps(
    config: Config, view: View, samples: Mapping[str, Step], neighbors: Mapping[str, Step]
) -> dict[str, Step]:
    """The layouts of whole layers, one by one; with ``project.align`` the missing ones are made together.

    Args: samples, neighbors: by layer, in the run's order.
    """
    alone = {layer: step(config, view, sample, None, neighbors[layer]) for layer, sample in samples.items()}
    if not config.project.align:
        return alone
    all_inputs = {f"sample {number}": sample for number, sample in enumerate(samples.values())}
    all_inputs |= {f"neighbors {number}": neighbors[layer] for number, layer in enumerate(samples)}
    return {
        layer: replace(
            layer_step,
            config=replace(
                layer_step.config,
                # Aligned layouts have one engine; the configured one must not change the fingerprint.
                engine="parallel",
                aligned=AlignedConfig(
                    layer=number,
                    num_layers=len(samples),
                    regularisation=config.project.align_regularisation,
                    window_size=config.project.align_window_size,
                ),
            ),
            inputs={**layer_step.inputs, **all_inputs},
            shared="aligned",
            own_inputs=("sample", "neighbors"),
        )
        for number, (layer, layer_step) in enumerate(alone.items())
    }
