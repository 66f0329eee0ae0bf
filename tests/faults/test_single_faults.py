"""Faults that the soak test found, with a test for each."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atlas_pipeline.runs import commands


@pytest.fixture
def small(small):
    """The small run with t-SNE, since UMAP takes longer to compile than everything else takes to run."""
    return small | {"project": {"method": "tsne", "num_epochs": 250, "num_neighbors": 5}}


@pytest.fixture
def flipped(small, finished):
    """`flipped(stage)`: finish the run, then flip one byte that only a checksum on reading reveals."""

    def flip(stage):
        finished(small)
        (path,) = Path(small["run"]["workspace"]).glob(f"cache/{stage}/*/part-00000.parquet")
        stat, content = path.stat(), bytearray(path.read_bytes())
        content[content.rindex(b"\x28\xb5\x2f\xfd") + 32] ^= 0xFF
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return path

    return flip


def test_damage_met_on_publishing_is_mended(small, atlas, flipped):
    flipped("stitch")
    page = Path(small["run"]["workspace"]) / "runs" / "small" / "index.html"
    before = page.read_bytes()
    page.unlink()
    result = atlas("run", small)
    assert result.exit_code == 0
    assert "part-00000.parquet damaged; making it again" in result.stderr
    assert "1 task run" in result.stdout
    assert page.read_bytes() == before


def test_an_index_altered_before_it_is_published_is_mended(small, finished, atlas, monkeypatch):
    finished(small)
    (index,) = Path(small["run"]["workspace"]).glob("cache/index/*/part-00000.parquet")
    whole, make = index.read_bytes(), commands.make

    def make_then_alter(*arguments):
        monkeypatch.setattr(commands, "make", make)
        made = make(*arguments)
        index.write_bytes(whole[:-100] + bytes([whole[-100] ^ 0xFF]) + whole[-99:])
        return made

    monkeypatch.setattr(commands, "make", make_then_alter)
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    assert "part-00000.parquet damaged; making it again" in result.stderr
    assert index.read_bytes() == whole


def test_a_layout_whose_manifest_is_cut_before_it_is_published_is_mended(small, finished, atlas, monkeypatch):
    finished(small)
    (manifest,) = Path(small["run"]["workspace"]).glob("cache/project/*/manifest.json")
    whole, make = json.loads(manifest.read_bytes()), commands.make

    def make_then_cut(*arguments):
        monkeypatch.setattr(commands, "make", make)
        made = make(*arguments)
        os.truncate(manifest, 20)
        return made

    monkeypatch.setattr(commands, "make", make_then_cut)
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    assert json.loads(manifest.read_bytes())["fingerprint"] == whole["fingerprint"]


def test_verify_mends_what_nobody_reads(small, atlas, flipped):
    part = flipped("crops")
    damaged = part.read_bytes()
    assert "0 tasks run" in atlas("run", small).stdout
    assert part.read_bytes() == damaged
    result = atlas("run", small, "--verify")
    assert "crops" in result.stderr
    assert "1 task run" in result.stdout
    assert part.read_bytes() != damaged
    assert atlas("run", small, "--verify").stderr == ""


def test_a_killed_publication_leaves_nothing_for_ever(small, finished, atlas):
    finished(small)
    stray = Path(small["run"]["workspace"]) / "runs" / "small" / "4" / "all" / ".atlas-3.png.0f.tmp"
    stray.write_bytes(b"half")
    # Another process may be drawing a figure, so publishing leaves the figures folder alone.
    drawn = stray.parents[2] / "figures" / ".4-all.pdf.0f.tmp"
    drawn.parent.mkdir()
    drawn.write_bytes(b"half")
    assert atlas("run", small).exit_code == 0
    assert not stray.exists()
    assert drawn.exists()


def test_out_of_memory_is_one_line(small, atlas, monkeypatch):
    def starve(*_, **__):
        raise MemoryError

    monkeypatch.setattr(commands, "run", starve)
    result = atlas("run", small)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: out of memory; free some")
    assert result.stderr.count("\n") == 1


INTERRUPTED_TWICE = """
import atexit, signal
from atlas_pipeline.cli import main as cli

@cli.main.command()
def interrupted():
    {second}
    signal.raise_signal(signal.SIGINT)

def again():
    signal.raise_signal(signal.SIGINT)
    print("went on")

cli.main(["interrupted"])
"""


@pytest.mark.parametrize("second", ["atexit.register(again)", "cli.click.echo = lambda *_, **__: again()"])
def test_the_second_interrupt_ends_a_command_at_once(second):
    """The second interrupt arrives during shutdown, or while the message of the first one is printed."""
    script = INTERRUPTED_TWICE.format(second=second)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 128 + signal.SIGINT
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
