"""Print the results of commands: tables on stdout, readable in a terminal and in a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml
from rich.console import Console
from rich.text import Text

from atlas_pipeline.cli.fitted_table import TableColumn, open_console, print_table
from atlas_pipeline.engine.progress import size_text
from atlas_pipeline.errors import counted
from atlas_pipeline.publish.report_columns import columns_of

if TYPE_CHECKING:
    from atlas_pipeline.engine import StepState
    from atlas_pipeline.engine.location import Location
    from atlas_pipeline.patch_test.patch_report import PatchSummary
    from atlas_pipeline.publish.entries import AtlasEntry
    from atlas_pipeline.runs.commands import CheckResult, RunResult
    from atlas_pipeline.runs.layer_list import LayerList

VERDICT_STYLE = {"ok": "green", "note": "yellow", "fails": "red"}
# Numbers of an atlas that a narrow terminal shows too, by the column's name.
BRIEF = ("num_cells", "fidelity_median", "round_trip_top1", "trustworthiness")
STATE_STYLE = {"done": "green", "partial": "yellow", "missing": "red"}


def _print_line(console: Console, line: object, style: str = "") -> None:
    """Print one line as plain text, without breaking it."""
    console.print(Text(str(line), style=style), soft_wrap=True)


def print_status(states: Sequence[StepState], remarks: Sequence[str] = ()) -> None:
    """Print one row per step (state, tasks, fingerprint, why it would run), then the remarks."""
    columns = [
        TableColumn(heading="stage"),
        TableColumn(heading="layer", is_text=True),
        TableColumn(heading="view", is_brief=False),
        TableColumn(heading="grid", is_number=True),
        TableColumn(heading="state"),
        TableColumn(heading="tasks", is_number=True, is_brief=False),
        TableColumn(heading="fingerprint", is_brief=False),
        TableColumn(heading="why it would run", is_text=True),
    ]
    rows = [
        (
            state.stage,
            state.layer or "",
            state.view or "",
            "" if state.grid is None else str(state.grid),
            Text(state.state, style=STATE_STYLE[state.state]),
            "" if state.tasks is None else f"{state.tasks_done}/{state.tasks}",
            state.fingerprint or "",
            state.reason or "",
        )
        for state in states
    ]
    console = open_console()
    _say_left_out(console, print_table(console, columns, rows), "atlas status CONFIG --json has them")
    for line in remarks:
        _print_line(console, line, "yellow")


def print_layers(layers: LayerList) -> None:
    """Print one row per layer: channels, map size, receptive field; a star at proposed layers."""
    columns = [
        TableColumn(heading="  layer"),
        TableColumn(heading="kind", is_brief=False),
        TableColumn(heading="channels", is_number=True),
        TableColumn(heading="map", is_number=True),
        TableColumn(heading="receptive field", is_number=True),
        TableColumn(heading="stride", is_number=True, is_brief=False),
        TableColumn(heading="read from", is_brief=False),
    ]
    rows = []
    for info in layers.infos:
        field = "?" if info.receptive_field_px is None else f"{info.receptive_field_px} px"
        rows.append(
            (
                f"{'*' if info.name in layers.proposed else ' '} {info.name}",
                info.kind,
                str(info.num_channels),
                f"{info.height} x {info.width}",
                "whole image" if info.sees_whole_image else field,
                "" if info.stride_px is None else f"{info.stride_px} px",
                "" if info.form == "channels first" else info.form,
            )
        )
    console = open_console()
    _print_line(console, layers.title)
    _say_left_out(console, print_table(console, columns, rows))
    if len(layers.infos) < layers.num_all:
        _print_line(console, f"{len(rows)} ends of blocks, of {layers.num_all} layers with a map; all: --all")
    # Names such as '4' need quotes in YAML.
    names = yaml.safe_dump(list(layers.proposed), default_flow_style=True, width=10**6).strip()
    _print_line(console, "* proposed for an atlas; in a config:")
    _print_line(console, f"layers: {names}")


def print_check(result: CheckResult) -> None:
    """Print one row per finding: the network first, then layer by layer; each layer's name once."""
    columns = [
        TableColumn(heading="layer", is_text=True),
        TableColumn(heading="check"),
        TableColumn(heading="verdict"),
        TableColumn(heading="what was found", is_text=True),
    ]
    rows, previous = [], None
    for row in result.rows:
        layer = row["layer"] or "(network)"
        verdict = Text(row["verdict"], style=VERDICT_STYLE[row["verdict"]])
        rows.append(("" if layer == previous else layer, row["check"], verdict, row["said"]))
        previous = layer
    console = open_console()
    _print_line(console, f"{result.title}, on {result.num_images} images")
    print_table(console, columns, rows)


def print_result(result: RunResult) -> None:
    """Print the measures of the atlases, the remarks, and the paths of the outputs."""
    console = open_console()
    atlases = result.published.atlases
    if atlases:
        _print_numbers(console, atlases)
    for line in result.remarks:
        _print_line(console, line, "yellow")
    console.print(f"{counted(result.tasks_run, 'task')} run, {result.seconds:.0f} s", highlight=False)
    if result.published.page:
        folder = result.published.page.parent
        for atlas in atlases:
            _print_line(console, folder / atlas.atlas)
        _print_line(console, result.published.page)
    for page in (result.published.unit_page, result.published.atom_page):
        if page:
            _print_line(console, page)


def _print_numbers(console: Console, atlases: Sequence[AtlasEntry]) -> None:
    """Print one row per atlas; its baselines are in the report only."""
    measured = [column for column in columns_of(atlases) if not column.is_baseline]
    has_views = any(atlas.view != "all" for atlas in atlases)
    columns = [
        TableColumn(heading="layer"),
        *([TableColumn(heading="view")] if has_views else []),
        TableColumn(heading="grid", is_number=True),
        *(
            TableColumn(heading=column.heading, is_number=True, is_brief=column.name in BRIEF)
            for column in measured
        ),
    ]
    rows = []
    for atlas in atlases:
        numbers = (column.shown(atlas.numbers.get(column.name)) for column in measured)
        rows.append((atlas.layer, *([atlas.view] if has_views else []), str(atlas.grid), *numbers))
    _say_left_out(console, print_table(console, columns, rows), "report.html has them")


def _say_left_out(
    console: Console, headings: Sequence[str], where: str = "a wider terminal shows them"
) -> None:
    if headings:
        # Unlike paths and commands, nobody copies this line: it is broken between words.
        console.print(Text(f"not shown: {', '.join(headings)}; {where}", style="dim"))


def print_next(commands: Sequence[str]) -> None:
    """Print on stderr the commands to try next: stdout holds results only."""
    console = Console(stderr=True)
    for number, command in enumerate(commands):
        _print_line(console, f"{'next:' if number == 0 else '     '} {command}", "bold")


def print_files(result: RunResult, suffix: str = "") -> None:
    """Print the remarks, and the paths of the command's files whose suffix ends in ``suffix``."""
    console = open_console()
    for line in result.remarks:
        _print_line(console, line, "yellow")
    console.print(f"{counted(result.tasks_run, 'task')} run, {result.seconds:.0f} s", highlight=False)
    for path in result.files:
        if path.suffix.endswith(suffix):
            _print_line(console, path)


def print_patch_tests(result: RunResult, summaries: Sequence[PatchSummary]) -> None:
    """Print one table per patch test, the remarks, and the paths of the files."""
    console = open_console()
    for summary in summaries:
        console.print(Text(summary.title, style="bold"))
        if summary.rows:
            columns = [
                TableColumn(heading=heading, is_number=number == 1, is_text=number == 0)
                for number, heading in enumerate(summary.header)
            ]
            print_table(console, columns, summary.rows)
    print_files(result)


def print_clean(unreached: Sequence[tuple[Location, int]], removed: bool) -> None:
    """Print the artefacts that no run reaches, and their sizes."""
    console = open_console()
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
