"""stitch: the icons of a grid into the atlas picture, and the atlas as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.mosaic import icon_px_within, mosaic
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.image_keys import keys_of
from atlas_pipeline.stages.opened import labels_digest, model_config, model_spec
from atlas_pipeline.stages.provenance import (
    has_random_weights,
    model_title,
    picture_text,
    provenance,
    random_weights_caption,
    weights_note,
)
from atlas_pipeline.stages.tables import file_table, over_ground, pixels
from atlas_pipeline.viewer.axis_figure import with_axis
from atlas_pipeline.viewer.document import Cells, atlas_document, atlas_json
from atlas_pipeline.viewer.figures import png_bytes, with_caption

# A page with larger pictures is slow to open: it shows a smaller copy, and links to the whole.
LARGEST_ON_PAGE_PX, PREVIEW_PX, SMALLEST_VIEW_PX = 8000, 4000, 640
# What shows between icons, and through transparent ones.
PAPER = 255


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    if not job.inputs["bin"].num_rows:
        # A selection without icons: the run says why.
        return [Output(table=file_table({}))]
    grid = int(job.config["grid"])
    icon_px = icon_px_within(grid, job.config["icon_px"])
    files = {
        f"atlas-{grid}.png": _picture(job, grid, icon_px),
        f"atlas-{grid}.json": atlas_json(_document(job, grid, icon_px)),
    }
    if grid * icon_px > LARGEST_ON_PAGE_PX:
        files[f"atlas-{grid}-preview.png"] = _picture(job, grid, icon_px_within(grid, icon_px, PREVIEW_PX))
    runtime.advance(job.inputs["bin"].num_rows)
    return [Output(table=file_table(files))]


def _picture(job: Job, grid: int, icon_px: int) -> bytes:
    cells = job.inputs["bin"].read(["row", "col", "count"])
    picture = mosaic(
        over_ground(pixels(job.inputs["invert"].read(["icon"])["icon"]), PAPER),
        cells["row"].to_numpy(),
        cells["col"].to_numpy(),
        cells["count"].to_numpy(),
        grid,
        icon_px,
        scale=job.config["scale"],
        background=PAPER,
    )
    if "axis" in job.config:
        left, right = job.config["axis"]
        picture = with_axis(picture, left, right, job.inputs["select"].notes["scale"])
    caption = random_weights_caption(job)
    return png_bytes(with_caption(picture, caption) if caption else picture, picture_text(job))


def _document(job: Job, grid: int, icon_px: int) -> dict[str, Any]:
    from atlas_pipeline.models import class_labels

    model, cells_of, icons = job.config["model"], job.inputs["bin"], job.inputs["invert"]
    cells = cells_of.read()
    numbers = icons.read([name for name in icons.schema.names if name != "icon"])
    return atlas_document(
        model=model_title(model),
        weights=weights_note(model),
        random_weights=has_random_weights(model),
        layer=str(job.layer),
        view=str(job.view),
        grid=grid,
        icon_px=icon_px,
        num_activations=job.inputs["project"].num_rows,
        selection=_selection(job),
        layout=job.inputs["project"].notes["quality"],
        provenance=provenance(job),
        cells=Cells(
            row=cells["row"].to_numpy(),
            col=cells["col"].to_numpy(),
            count=cells["count"].to_numpy(),
            coherence=cells["coherence"].to_numpy(),
            consistency=cells["consistency"].to_numpy() if "consistency" in cells.column_names else None,
            nearest=cells["nearest"].to_numpy(),
            examples=_with_keys(cells["examples"].to_pylist(), job),
            attribution=column_matrix(cells, "attribution") if "attribution" in cells.column_names else None,
            **{name: numbers[name].to_numpy() for name in NUMBERS},
        ),
        labels=class_labels(job.settings["model"], cells_of.notes["num_classes"]),
        class_indices=cells_of.notes["classes"],
        real_crops=icons.notes["real_crops"],
    )


def _selection(job: Job) -> dict[str, Any] | None:
    """How the view's activations were chosen: the config of the select stage and what came of it."""
    if "select" not in job.inputs:
        return None
    select = job.inputs["select"]
    return {**select.config, **select.notes}


NUMBERS = (
    "fidelity",
    "fidelity_whitened",
    "round_trip",
    "noise",
    "saturated",
    "spectrum_distance",
    "colour_distance",
)


def _with_keys(examples: list[list[dict[str, Any]]], job: Job) -> list[list[dict[str, Any]]]:
    """Name the image of every example as the user knows it."""
    keys = keys_of(job.inputs["index"], {e["image_id"] for of_cell in examples for e in of_cell})
    return [[{**e, "key": keys[e["image_id"]]} for e in of_cell] for of_cell in examples]


STITCH = Stage(
    name="stitch",
    version=1,
    unit="icons",
    split=lambda job: [{"icons": job.inputs["bin"].num_rows}],
    size=lambda task: task["icons"],
    compute=_compute,
)


def step(config: Config, index: Step, layout: Step, cells: Step, icons: Step) -> Step:
    """The atlas of one grid."""
    return _step(config, {"index": index, "project": layout, "bin": cells, "invert": icons})


def view_step(
    config: Config,
    index: Step,
    select: Step,
    layout: Step,
    cells: Step,
    icons: Step,
    axis: tuple[str, str] | None = None,
) -> Step:
    """The atlas of one grid over a selection; ``axis``: the names of a comparison's classes."""
    inputs = {"index": index, "select": select, "project": layout, "bin": cells, "invert": icons}
    return _step(config, inputs, {"axis": list(axis)} if axis else {})


def _step(config: Config, inputs: Mapping[str, Step], more: Mapping[str, Any] | None = None) -> Step:
    cells = inputs["bin"]
    grid, icon_px = int(cells.grid or 1), config.invert.size_px
    if "select" in inputs:
        # Few cells of small icons: whole multiples, until the words beneath can be read.
        icon_px *= max(1, round(SMALLEST_VIEW_PX / (grid * icon_px)))
    return Step(
        stage=STITCH,
        config={
            "model": model_config(config),
            "labels": labels_digest(config),
            "scale": config.stitch.scale,
            "icon_px": icon_px,
            "grid": grid,
            **(more or {}),
        },
        inputs=inputs,
        settings={"model": model_spec(config)},
        layer=cells.layer,
        view=cells.view,
        grid=grid,
    )
