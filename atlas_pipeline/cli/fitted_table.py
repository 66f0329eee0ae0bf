"""Tables that fit the terminal: a narrow one shows fewer columns, a very narrow one a block for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A terminal without a width, such as a pipe or a log, has the room that a table needs.
_UNLIMITED = 300
# Text that may be broken into lines gets at least this many characters a line.
_LEAST_TEXT = 20
_GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of a table on the terminal.

    Attributes: heading: may be broken between words. is_number: aligned right. is_text: its values may be
                broken; all others stay whole. is_brief: never left out.
    """

    heading: str
    is_number: bool = False
    is_text: bool = False
    is_brief: bool = True


def open_console() -> Console:
    """The console for results, as wide as the terminal."""
    console = Console(soft_wrap=False)
    return console if console.is_terminal else Console(width=_UNLIMITED)


def print_table(
    console: Console, columns: Sequence[TableColumn], rows: Sequence[Sequence[str | Text]]
) -> list[str]:
    """Print a table that is no wider than the console, and return the headings of columns left out.

    Columns that are not brief are left out, from the right, until the others fit. If the brief ones alone do
    not fit, each row becomes a block of lines, and no column is left out.

    Args: rows: a cell for each column. A cell is shown as it is: names may look like rich's markup.
    """
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    kept = list(range(len(columns)))
    widths = [_width(column, [row[n] for row in cells]) for n, column in enumerate(columns)]
    while sum(widths[n] for n in kept) + _GAP * (len(kept) - 1) > console.width:
        droppable = [n for n in kept if not columns[n].is_brief]
        if not droppable:
            _print_blocks(console, columns, cells)
            return []
        kept.remove(droppable[-1])
    spare = console.width - sum(widths[n] for n in kept) - _GAP * (len(kept) - 1)
    for n in sorted(kept, key=lambda n: not columns[n].is_text):
        whole = max([cell_len(columns[n].heading), *(row[n].cell_len for row in cells)])
        added = min(spare, whole - widths[n])
        widths[n], spare = widths[n] + added, spare - added
    table = Table(box=None, header_style="bold", pad_edge=False)
    for n in kept:
        table.add_column(
            Text(columns[n].heading),
            justify="right" if columns[n].is_number else "left",
            width=widths[n],
            overflow="fold",
        )
    for row in cells:
        table.add_row(*(row[n] for n in kept))
    console.print(table)
    return [column.heading for n, column in enumerate(columns) if n not in kept]


def _width(column: TableColumn, cells: Sequence[Text]) -> int:
    """The least width of a column: its longest word, or its longest value if values stay whole."""
    longest = max((cell.cell_len for cell in cells), default=0)
    if column.is_text:
        longest = min(longest, _LEAST_TEXT)
    return max([longest, *map(cell_len, column.heading.split())])


def _print_blocks(console: Console, columns: Sequence[TableColumn], rows: Sequence[Sequence[Text]]) -> None:
    """Each row as lines ``heading  value`` below its first cell."""
    indent = max(cell_len(column.heading) for column in columns) + _GAP
    for first, *rest in rows:
        if first.plain:
            console.print(first, style="bold", soft_wrap=True)
        for column, cell in zip(columns[1:], rest, strict=True):
            if cell.plain:
                console.print(Text.assemble(column.heading.ljust(indent), cell), soft_wrap=True)
