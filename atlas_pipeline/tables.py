"""What the commands print: tables on stdout, readable in a terminal and in a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.viewer.measures import measures_of

if TYPE_CHECKING:
    from atlas_pipeline.engine import StepState
    from atlas_pipeline.engine.place import Place
    from atlas_pipeline.models import LayerInfo
    from atlas_pipeline.runs import RunResult
    from atlas_pipeline.stages.patch_report import PatchSummary

STATE_STYLE = {"done": "green", "partial": "yellow", "missing": "red"}


def _console() -> Console:
    console = Console(soft_wrap=False)
    # A pipe or a log has no width of its own: give tables the room they need.
    return console if console.is_terminal else Console(width=300)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def print_status(states: Sequence[StepState]) -> None:
    """One row a step: state, tasks, fingerprint, why it would run."""
    table = _table(
        "stage",
        "layer",
        "view",
        "grid",
        "state",
        "tasks",
        "fingerprint",
        "why it would run",
        right=["grid", "tasks"],
    )
    for state in states:
        tasks = "" if state.tasks is None else f"{state.tasks_done}/{state.tasks}"
        table.add_row(
            state.stage,
            state.layer or "",
            state.view or "",
            "" if state.grid is None else str(state.grid),
            f"[{STATE_STYLE[state.state]}]{state.state}[/]",
            tasks,
            state.fingerprint or "",
            state.reason or "",
        )
    _console().print(table)


def print_layers(title: str, infos: Sequence[LayerInfo]) -> None:
    """One row a layer: channels, map size, receptive field."""
    table = _table(
        "layer",
        "kind",
        "channels",
        "map",
        "receptive field",
        "stride",
        "read from",
        right=["channels", "map", "receptive field", "stride"],
    )
    for info in infos:
        field = "?" if info.receptive_field_px is None else f"{info.receptive_field_px} px"
        stride = "" if info.stride_px is None else f"{info.stride_px} px"
        table.add_row(
            info.name,
            info.kind,
            str(info.num_channels),
            f"{info.height} x {info.width}",
            "whole image" if info.sees_whole_image else field,
            stride,
            "" if info.form == "channels first" else info.form,
        )
    console = _console()
    console.print(title, highlight=False)
    console.print(table)


def print_result(result: RunResult) -> None:
    """How good the atlases are, what a reader must know, and where everything is."""
    console = _console()
    atlases = result.published.atlases
    if atlases:
        # A terminal is narrow; the page shows the baselines too.
        measures = [measure for measure in measures_of(atlases) if not measure.is_baseline]
        headings = [measure.heading for measure in measures]
        table = _table("layer", "view", "grid", *headings, right=["grid", *headings])
        for atlas in atlases:
            table.add_row(
                atlas.layer, atlas.view, str(atlas.grid), *(measure.shown(atlas) for measure in measures)
            )
        console.print(table)
    for line in result.remarks:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)
    console.print(f"{result.tasks_run} tasks run, {result.seconds:.0f} s", highlight=False)
    if result.published.page:
        folder = result.published.page.parent
        for atlas in atlases:
            console.print(str(folder / atlas.atlas), highlight=False, soft_wrap=True)
        console.print(str(result.published.page), highlight=False, soft_wrap=True)


def print_pictures(result: RunResult) -> None:
    """What a reader must know, and where the pictures are."""
    console = _console()
    for line in result.remarks:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)
    console.print(f"{result.tasks_run} tasks run, {result.seconds:.0f} s", highlight=False)
    for path in result.files:
        if path.suffix == ".png":
            console.print(str(path), highlight=False, soft_wrap=True)


def print_patch_tests(result: RunResult, summaries: Sequence[PatchSummary]) -> None:
    """A table a patch test, what a reader must know, and where the files are."""
    console = _console()
    for summary in summaries:
        console.print(summary.title, style="bold", highlight=False)
        if summary.rows:
            table = _table(*summary.header, right=summary.header[1:2])
            for row in summary.rows:
                table.add_row(*row)
            console.print(table)
    for line in result.remarks:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)
    console.print(f"{result.tasks_run} tasks run, {result.seconds:.0f} s", highlight=False)
    for path in result.files:
        console.print(str(path), highlight=False, soft_wrap=True)


def print_clean(unreached: Sequence[tuple[Place, int]], removed: bool) -> None:
    """What no run reaches, and how much room it takes."""
    console = _console()
    for path, size in unreached:
        console.print(f"{size_text(size):>10}  {path}", highlight=False, soft_wrap=True)
    total = size_text(sum(size for _, size in unreached))
    if not unreached:
        console.print("nothing to remove: every artefact is reached by a run")
    else:
        console.print(
            f"{'removed' if removed else 'would remove'} {len(unreached)} artefacts, {total}"
            + ("" if removed else "; --yes removes them")
        )
