"""Tables fit terminals of 60, 80 and 120 columns, and no number is broken."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from atlas_pipeline.cli import printing
from atlas_pipeline.cli.fitted_table import TableColumn, open_console, print_table
from atlas_pipeline.publish.entries import AtlasEntry
from atlas_pipeline.publish.publication import Publication
from atlas_pipeline.publish.report_columns import all_columns, columns_of

NUMBERS = {
    "num_activations": 1_000_000,
    "num_cells": 24_600,
    "fidelity_median": 0.873,
    "fidelity_p5": 0.644,
    "round_trip_top1": 0.971,
    "round_trip_top5": 0.999,
    "coherence_median": 0.512,
    "consistency_median": 0.222,
    "saturated": 0.012,
    "trustworthiness": 0.934,
}


def entry(layer, view="all", grid=160):
    return AtlasEntry(
        layer=layer,
        view=view,
        kind="all",
        grid=grid,
        atlas="a.png",
        document="a.json",
        width_px=1,
        num_activations=1,
        num_cells=1,
        numbers=NUMBERS,
    )


def result_of(entries):
    published = Publication(page=None, atlases=tuple(entries))
    return SimpleNamespace(published=published, remarks=(), tasks_run=3, seconds=4.0, files=())


def printed(monkeypatch, width, entries):
    stream = io.StringIO()
    monkeypatch.setattr(printing, "open_console", lambda: Console(file=stream, width=width))
    printing.print_result(result_of(entries))
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("view", ["all", "class-zebra"])
def test_the_numbers_of_a_run_stay_whole_at_any_width(monkeypatch, width, view):
    lines = printed(monkeypatch, width, [entry("mixed3", view), entry("mixed4", view)]).splitlines()
    assert max(map(len, lines)) <= width
    # The numbers that matter most are there for both layers, and whole.
    words = [word for line in lines for word in line.split()]
    assert all(words.count(number) == 2 for number in ("160", "24,600", "0.873", "97%", "0.934"))


def test_a_wide_table_has_every_number_and_a_narrow_one_says_which_it_lacks(monkeypatch):
    entries = [entry("mixed3")]
    headings = {column.heading for column in columns_of(entries) if not column.is_baseline}
    wide = printed(monkeypatch, 300, entries)
    assert all(heading in wide for heading in headings)
    assert "not shown" not in wide
    narrow = " ".join(printed(monkeypatch, 80, entries).split())
    lacks = narrow.partition("not shown: ")[2].partition("; report.html has them")[0]
    missing = set(lacks.split(", "))
    assert missing < headings
    assert {"fidelity", "round trip", "cells"}.isdisjoint(missing)
    assert "saturated" in missing


def test_the_brief_numbers_are_numbers_of_the_report():
    assert set(printing.BRIEF) <= {column.name for column in all_columns()}


def test_where_not_even_the_brief_columns_fit_each_row_is_a_block(monkeypatch):
    layer = "features.denseblock4.denselayer16.conv2"
    text = printed(monkeypatch, 60, [entry(layer), entry("late")])
    lines = text.splitlines()
    assert lines[0] == layer
    assert "not shown" not in text
    assert ["5th", "percentile", "0.644"] in [line.split() for line in lines]
    assert max(map(len, lines)) <= 60


def test_without_a_terminal_no_column_is_left_out(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    console = open_console()  # pytest's stdout is no terminal
    assert not console.is_terminal
    assert console.width >= 300


def test_text_is_broken_before_columns_are_left_out():
    columns = [
        TableColumn(heading="stage"),
        TableColumn(heading="tasks", is_number=True, is_brief=False),
        TableColumn(heading="why", is_text=True),
    ]
    rows = [("sample", "1/2", "its input, the index, has changed since it was made")]
    for width, left_out in ((40, []), (30, ["tasks"])):
        stream = io.StringIO()
        assert print_table(Console(file=stream, width=width), columns, rows) == left_out
        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert " ".join(" ".join(line[-20:].split()) for line in lines[1:]).count("index,") == 1


def test_cells_are_shown_as_they_are():
    stream = io.StringIO()
    print_table(Console(file=stream, width=40), [TableColumn(heading="layer")], [("[red]a[/red]",)])
    assert "[red]a[/red]" in stream.getvalue()
