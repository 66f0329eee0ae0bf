"""Names, labels and paths are printed verbatim, never parsed as markup."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from atlas_pipeline.cli import printing as tables
from atlas_pipeline.engine import StepState
from atlas_pipeline.publish.entries import AtlasEntry
from atlas_pipeline.publish.publication import Publication

ODD = "[red]cat[/b] :cat: [link=x]"


def entry(**more):
    return AtlasEntry(
        kind="class",
        grid=20,
        document="",
        width_px=1,
        num_activations=1,
        num_cells=1,
        atlas="a[1].png",
        **more,
    )


def result(**more):
    return SimpleNamespace(tasks_run=0, seconds=0.0, remarks=(f"nothing speaks for {ODD}",), **more)


def test_of_a_run(capsys):
    folder = Path("/data/[old]/test[v2]")
    published = Publication(page=folder / "index.html", atlases=(entry(layer=ODD, view="class-[x]"),))
    tables.print_result(result(published=published))
    out = capsys.readouterr().out
    assert f"nothing speaks for {ODD}\n" in out
    assert "/data/[old]/test[v2]/index.html\n" in out
    assert "/data/[old]/test[v2]/a[1].png\n" in out
    assert any(line.startswith(ODD) and "class-[x]" in line for line in out.splitlines())


def test_of_steps(capsys):
    state = StepState(
        stage="bin",
        layer="blocks[0]",
        view=ODD,
        grid=3,
        state="missing",
        tasks=None,
        tasks_done=0,
        fingerprint=None,
        path=None,
        reason="grid.sizes [20] is new",
    )
    tables.print_status([state])
    out = capsys.readouterr().out
    for words in ("blocks[0]", ODD, "grid.sizes [20] is new", "missing"):
        assert words in out


def test_of_layers(capsys):
    info = SimpleNamespace(
        name="blocks[0].mlp",
        kind=ODD,
        num_channels=3,
        height=1,
        width=1,
        receptive_field_px=None,
        stride_px=None,
        sees_whole_image=False,
        form="channels first",
    )
    title = f"a network ({ODD})"
    tables.print_layers(SimpleNamespace(title=title, infos=[info], proposed=["blocks[0].mlp"], num_all=1))
    out = capsys.readouterr().out
    assert f"a network ({ODD})\n" in out
    assert "* blocks[0].mlp" in out
    assert out.endswith("layers: ['blocks[0].mlp']\n")
    assert out.count(ODD) == 2


def test_of_patch_tests(capsys):
    summary = SimpleNamespace(title=f"{ODD} into dog", header=["cell", ODD], rows=[["[3]", ODD]])
    tables.print_patch_tests(result(pictures=(), files=()), [summary])
    out = capsys.readouterr().out
    assert f"{ODD} into dog\n" in out
    assert out.count(ODD) == 4
    assert "[3]" in out


@pytest.mark.parametrize("path", ["/data/[old]/cache/bin/0123", "/data/:cat:/[/b]"])
def test_of_what_no_run_reaches(capsys, path):
    tables.print_clean([(Path(path), 10)], removed=False)
    assert f"{path}\n" in capsys.readouterr().out
