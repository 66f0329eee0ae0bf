"""plot: draw a layout as a density map and as a scatter plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.pictures.figures import density_figure, png_bytes, scatter_figure, with_caption
from atlas_pipeline.stages import LAYOUT_COMMANDS
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.population import layout_xy, population
from atlas_pipeline.views.class_names import names_of_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotStepConfig:
    """labels, label_column: the source of the names of the images' labels."""

    model: Mapping[str, Any]
    labels: str | None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotInputs:
    """The activations of a view, and their layout."""

    sample: Artefact
    project: Artefact
    select: Artefact | None = None


def _compute(task: Task, jobs: Sequence[Job[PlotStepConfig, PlotInputs]], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    xy = layout_xy(job.inputs.project.read(["x", "y"]))
    labels = population(job.inputs.sample, job.inputs.select).read(["label"])["label"].to_numpy()
    names = names_of_labels(job.settings, int(labels.max(initial=-1)))
    # An empty selection has no pictures; remarks of the run give the reason.
    pictures = (
        {"density.png": density_figure(xy), "scatter.png": scatter_figure(xy, labels, names)}
        if len(xy)
        else {}
    )
    caption = random_weights_caption(job)
    files = {
        name: png_bytes(with_caption(picture, caption) if caption else picture, picture_text(job))
        for name, picture in pictures.items()
    }
    runtime.advance(len(files))
    return [Output(table=file_table(files))]


PLOT = Stage(
    name="plot",
    version=3,
    config=PlotStepConfig,
    inputs=PlotInputs,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 2,
    compute=_compute,
    columns=FILES,
    commands=LAYOUT_COMMANDS,
    publishes=Publishes.PICTURE,
)


def step(config: Config, sample: Step, select: Step | None, layout: Step) -> Step:
    """The pictures of one layout."""
    return Step(
        stage=PLOT,
        config=PlotStepConfig(
            model=model_config(config),
            labels=labels_digest(config),
            label_column=config.images.label_column,
        ),
        inputs={"sample": sample, "project": layout, **({"select": select} if select else {})},
        settings=run_settings(config),
        layer=layout.layer,
        view=layout.view,
    )
