"""Print the results of commands: tables on stdout, readable in a terminal and in a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.errors import counted
from atlas_pipeline.publish.report_columns import columns_of

if TYPE_CHECKING:
    from atlas_pipeline.engine import StepState
    from atlas_pipeline.engine.location import Location
    from atlas_pipeline.models import LayerInfo
    from atlas_pipeline.patch_test.patch_report import PatchSummary
    from atlas_pipeline.runs.commands import CheckResult, RunResult

VERDICT_STYLE = {"ok": "green", "note": "yellow", "fails": "red"}
STATE_STYLE = {"done": "green", "partial": "yellow", "missing": "red"}


def _console() -> Console:
    console = Console(soft_wrap=False)
    # A pipe or a log has no width: give tables the room they need.
    return console if console.is_terminal else Console(width=300)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    return table


def _add_row(table: Table, *cells: str | Text) -> None:
    """Add cells as plain text: names, labels and paths may look like rich markup."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))


def _print_line(console: Console, line: object, style: str = "") -> None:
    """Print one line as plain text, without breaking it."""
    console.print(Text(str(line), style=style), soft_wrap=True)


def print_status(states: Sequence[StepState], remarks: Sequence[str] = ()) -> None:
    """Print one row per step (state, tasks, fingerprint, why it would run), then the remarks."""
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
        _add_row(
            table,
            state.stage,
            state.layer or "",
            state.view or "",
            "" if state.grid is None else str(state.grid),
            Text(state.state, style=STATE_STYLE[state.state]),
            tasks,
            state.fingerprint or "",
            state.reason or "",
        )
    console = _console()
    console.print(table)
    for line in remarks:
        _print_line(console, line, "yellow")


def print_layers(title: str, infos: Sequence[LayerInfo]) -> None:
    """Print one row per layer: channels, map size, receptive field."""
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
        _add_row(
            table,
            info.name,
            info.kind,
            str(info.num_channels),
            f"{info.height} x {info.width}",
            "whole image" if info.sees_whole_image else field,
            stride,
            "" if info.form == "channels first" else info.form,
        )
    console = _console()
    console.print(Text(title))
    console.print(table)


def print_check(result: CheckResult) -> None:
    """Print one row per finding: the network first, then layer by layer; each layer's name once."""
    table = _table("layer", "check", "verdict", "what was found")
    previous = None
    for row in result.rows:
        layer = row["layer"] or "(network)"
        _add_row(
            table,
            "" if layer == previous else layer,
            row["check"],
            Text(row["verdict"], style=VERDICT_STYLE[row["verdict"]]),
            row["said"],
        )
        previous = layer
    console = _console()
    _print_line(console, f"{result.title}, on {result.num_images} images")
    console.print(table)


def print_result(result: RunResult) -> None:
    """Print the measures of the atlases, the remarks, and the paths of the outputs."""
    console = _console()
    atlases = result.published.atlases
    if atlases:
        # A terminal is narrow; the page shows the baselines too.
        columns = [column for column in columns_of(atlases) if not column.is_baseline]
        headings = [column.heading for column in columns]
        table = _table("layer", "view", "grid", *headings, right=["grid", *headings])
        for atlas in atlases:
            shown = (column.shown(atlas.numbers.get(column.name)) for column in columns)
            _add_row(table, atlas.layer, atlas.view, str(atlas.grid), *shown)
        console.print(table)
    for line in result.remarks:
        _print_line(console, line, "yellow")
    console.print(f"{counted(result.tasks_run, 'task')} run, {result.seconds:.0f} s", highlight=False)
    if result.published.page:
        folder = result.published.page.parent
        for atlas in atlases:
            _print_line(console, folder / atlas.atlas)
        _print_line(console, result.published.page)


def print_files(result: RunResult, suffix: str = "") -> None:
    """Print the remarks, and the paths of the command's files whose suffix ends in ``suffix``."""
    console = _console()
    for line in result.remarks:
        _print_line(console, line, "yellow")
    console.print(f"{counted(result.tasks_run, 'task')} run, {result.seconds:.0f} s", highlight=False)
    for path in result.files:
        if path.suffix.endswith(suffix):
            _print_line(console, path)


def print_patch_tests(result: RunResult, summaries: Sequence[PatchSummary]) -> None:
    """Print one table per patch test, the remarks, and the paths of the files."""
    console = _console()
    for summary in summaries:
        console.print(Text(summary.title, style="bold"))
        if summary.rows:
            table = _table(*summary.header, right=summary.header[1:2])
            for row in summary.rows:
                _add_row(table, *row)
            console.print(table)
    print_files(result)


def print_clean(unreached: Sequence[tuple[Location, int]], removed: bool) -> None:
    """Print the artefacts that no run reaches, and their sizes."""
    console = _console()
    for path, size in unreached:
        _print_line(console, f"{size_text(size):>10}  {path}")
    total = size_text(sum(size for _, size in unreached))
    if not unreached:
        console.print("nothing to remove: every artefact is reached by a run")
    else:
        console.print(
            f"{'removed' if removed else 'would remove'} {len(unreached)} artefacts, {total}"
            + ("" if removed else "; --yes removes them")
        )
