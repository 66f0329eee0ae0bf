"""plot: the layout as pictures: its density map and its scatter plot."""

from __future__ import annotations

from collections.abc import Sequence

from atlas_pipeline.config.network import labels_digest, model_config, model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.pictures.figures import density_figure, png_bytes, scatter_figure, with_caption
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.population import layout_xy, population
from atlas_pipeline.views.classes import names_of_labels


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    xy = layout_xy(job.inputs["project"].read(["x", "y"]))
    labels = population(job.inputs).read(["label"])["label"].to_numpy()
    names = names_of_labels(job.settings, int(labels.max(initial=-1)))
    # Of nothing there is no picture; the run says why the selection is empty.
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
    version=1,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 2,
    compute=_compute,
)


def step(config: Config, sample: Step, layout: Step, select: Step | None = None) -> Step:
    """The pictures of one layout: of a whole sample, or of a selection from it."""
    return Step(
        stage=PLOT,
        config={
            "model": model_config(config),
            "labels": labels_digest(config),
            **config.images.named_labels,
        },
        inputs={"sample": sample, "project": layout} | ({"select": select} if select else {}),
        settings={
            "model": model_spec(config),
            **config.images.place,
        },
        layer=layout.layer,
        view=layout.view,
    )
