"""patch_report: report a patch test: all rows (CSV), a summary (Markdown), a contact sheet (PNG).

The sheet shows images, so it is left out if ``stitch.examples`` is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.rates import wilson
from atlas_pipeline.patch_test.contact_sheet import contact_sheet
from atlas_pipeline.patch_test.outcomes import (
    PatchReportInputs,
    PatchReportJob,
    PatchReportStepConfig,
    PatchTest,
    cell_name,
)
from atlas_pipeline.patch_test.placement import patch_px
from atlas_pipeline.patch_test.result_tables import csv_text, headings, markdown, points, summary_row
from atlas_pipeline.patch_test.summary import KindSummary, summarise
from atlas_pipeline.pictures.figures import png_bytes, with_caption
from atlas_pipeline.pictures.png_codec import picture_of
from atlas_pipeline.tables.files import file_table

CONTACT_SHEET = "patch-test.png"
_NO_SHEET = "There are no pictures of it, for stitch.examples is 0: no image goes into the run's folder."


class PatchSummary(NamedTuple):
    """The table of a patch test, one row per kind of patch; no rows if there was nothing to paste."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def _compute(task: Task, jobs: Sequence[PatchReportJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    test = PatchTest(job)
    title = f"Patch test: {test.left} to {test.right}, {job.layer}"
    remarks = _shortage(test)
    header = headings(test.left, test.right)
    notes = {"title": title, "remarks": remarks, "header": header, "rows": []}
    if not test.patches:
        return [Output(table=file_table({}), notes=notes)]
    summaries = summarise(test.becomes, test.leaves, test.kinds, test.fixed_place, job.config.seed)
    rows = [_row(test, summary) for summary in summaries]
    warning = random_weights_caption(job)
    shown = job.config.pictures
    caption = [*_caption(test, summaries), *remarks, *([] if shown else [_NO_SHEET])]
    words = " ".join([*([f"**{warning}.**"] if warning else []), *caption])
    files = {
        "patch-test.csv": csv_text(_csv_rows(test)).encode(),
        "patch-test.md": markdown(title, header, rows, words).encode(),
    }
    if shown:
        sheet = contact_sheet(test, runtime)
        files[CONTACT_SHEET] = png_bytes(
            with_caption(sheet, warning) if warning else sheet, picture_text(job)
        )
    runtime.advance(1)
    return [Output(table=file_table(files), notes={**notes, "rows": rows})]


def _shortage(test: PatchTest) -> list[str]:
    """The note on fewer patches than configured; empty if there are as many."""
    wanted, cells = test.job.config.num_patches, test.job.inputs.patches.notes["num_cells"]
    taken = test.kinds.count("icon")
    if taken == wanted:
        return []
    short = f"{taken} patches in place of {wanted}" if taken else "There is nothing to paste"
    return [f"{short}: of the comparison's {cells} cells {taken} pull from {test.left} to {test.right}."]


def _row(test: PatchTest, summary: KindSummary) -> list[str]:
    cells = [cell_name(patch) for patch in test.patches if patch["kind"] == summary.kind]
    return summary_row(summary, cells, test.place_names())


def _caption(test: PatchTest, summaries: Sequence[KindSummary]) -> list[str]:
    job = test.job
    whose = f"images of {test.left} that the network gets right"
    if not test.images.notes["labelled"]:
        whose = f"images that the network takes for {test.left} (no labels of its classes are there)"
    crop_px = len(picture_of(next(p["patch"] for p in test.patches if p["kind"] == "crop")))
    sizes = ", ".join(f"{100 * size:g} %" for size in job.config.sizes)
    more = [f"{s.kind} {points(s.over_noise)}" for s in summaries if s.over_noise is not None]
    return [
        f"Shares of {test.images.num_rows:,} {whose}, with 95 % confidence "
        "intervals (patches and images drawn anew; of the best patch: Wilson's).",
        f"First two shares: patches of {100 * job.config.fixed_size:g} % of the image's side, top left.",
        f"Best place of each image: at any of four corners and {sizes}, as in the paper. One place: for each "
        "patch the one that does best on one half of the images, counted on the other half. Best patch: at "
        "its one best place, counted on the very images it was chosen on.",
        f"Icons: of the cells of {job.view}, grid {job.grid}, that pull hardest from {test.left} to "
        f"{test.right}. Dataset crops: {crop_px} px around the activations nearest to these cells. Noise: of "
        "the icons' spectra and colours. Random cells: of the layer's whole atlas.",
        f"More than noise, first share, image by image: {', '.join(more)}.",
    ]


def _csv_rows(test: PatchTest) -> list[dict[str, Any]]:
    num_images, image_px = test.images.num_rows, test.images.notes["image_px"]
    rows = []
    for patch, becomes, leaves in zip(
        test.patches, test.becomes.sum(axis=2).tolist(), test.leaves.sum(axis=2).tolist(), strict=True
    ):
        for (size, corner), num_becomes, num_leaves in zip(test.places, becomes, leaves, strict=True):
            rates = {"becomes": wilson(num_becomes, num_images), "leaves": wilson(num_leaves, num_images)}
            rows.append(
                {
                    **{key: patch[key] for key in ("kind", "rank", "row", "col")},
                    "pull": None if patch["pull"] is None else float(f"{patch['pull']:.6g}"),
                    "image_id": patch["image_id"],
                    "size": size,
                    "size_px": patch_px(image_px, size),
                    "corner": corner,
                    "num_images": num_images,
                    "num_becomes": num_becomes,
                    "num_leaves": num_leaves,
                    **{
                        name if part == "mean" else f"{name}_{part}": round(value, 6)
                        for name, rate in rates.items()
                        for part, value in rate._asdict().items()
                    },
                }
            )
    return rows


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    """Report fewer patches than configured, or none."""
    return [f"{step.layer}, {step.view}: {remark}" for remark in artefact.notes["remarks"]]


def summary_of(artefact: Artefact) -> PatchSummary:
    """The summary table of a report's artefact."""
    notes = artefact.notes
    return PatchSummary(notes["title"], notes["header"], notes["rows"])


PATCH_REPORT = Stage(
    name="patch_report",
    version=3,
    config=PatchReportStepConfig,
    inputs=PatchReportInputs,
    unit="reports",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    commands=("patch-test",),
    publishes=Publishes.FIGURE,
    remarks=_remarks,
)


def step(
    config: Config,
    left: tuple[int, str],
    right: tuple[int, str],
    index: Step,
    patches: Step,
    images: Step,
    answers: Step,
) -> Step:
    """The files of one comparison's patch test. left, right: logit and label."""
    return Step(
        stage=PATCH_REPORT,
        config=PatchReportStepConfig(
            model=model_config(config),
            labels=labels_digest(config),
            left=left,
            right=right,
            sizes=config.patch_test.sizes,
            fixed_size=config.patch_test.fixed_size,
            num_patches=config.patch_test.num_patches,
            seed=config.seed,
            pictures=config.stitch.examples > 0,
        ),
        inputs={"index": index, "patches": patches, "patch_images": images, "patch_answers": answers},
        settings=run_settings(config),
        layer=patches.layer,
        view=patches.view,
        grid=patches.grid,
    )
