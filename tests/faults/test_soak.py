"""The short soak test: a run hit by one fault of each kind ends equal to an undisturbed run."""

import sys

import pytest

from scripts.soak.case import Case
from scripts.soak.checks import content, differences, leftovers, not_whole
from scripts.soak.driver import Driver, small_disk
from scripts.soak.faults import KINDS
from scripts.soak.report import Tally, report
from scripts.soak.run import soak

# tests/engine/test_engine_damage.py covers damage to files at rest, without a whole run for each kind.
IN_CI = (
    "driver killed",
    "worker killed",
    "interrupted twice",
    "disk full",
    "byte flipped, time kept",
    "clock jumps",
    "two drivers",
)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the soak needs Linux")


@pytest.mark.extended
def test_a_run_hit_by_a_fault_of_each_kind_ends_as_if_undisturbed(tmp_path):
    kinds = [kind for kind in KINDS if kind.name in IN_CI]
    case = Case(tmp_path / "case", short=True)
    with small_disk(tmp_path / "disk") as disk:
        soaked = soak(case, disk, kinds, num_faults=len(IN_CI), seed=3)
    assert soaked.violations == []
    assert {tally.kind: tally.times for tally in soaked.tallies.values()} == dict.fromkeys(IN_CI, 1)
    assert soaked.num_equal >= 1


@pytest.fixture
def workspace(tmp_path):
    """A workspace with two parts, one of them truncated, and no manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "cache" / "sample" / ("0" * 16)
    folder.mkdir(parents=True)
    for number in range(2):
        pq.write_table(pa.table({"a": [number]}), folder / f"part-0000{number}.parquet")
    with (folder / "part-00001.parquet").open("r+b") as file:
        file.truncate(20)
    return tmp_path


def test_the_soak_sees_a_half_written_part_but_not_one_that_it_spoiled(workspace):
    (found,) = not_whole(workspace, spoiled=())
    assert found.startswith("half-written: ")
    assert "part-00001.parquet" in found
    (spoiled,) = workspace.rglob("part-00001.parquet")
    assert not_whole(workspace, spoiled={spoiled}) == []


def test_the_soak_sees_what_differs_and_what_is_left_behind(workspace):
    expected = content(workspace)
    (part,) = workspace.rglob("part-00000.parquet")
    part.write_bytes(b"")
    stray = part.with_name(".part-00000.parquet.0f.tmp")
    stray.touch()
    assert differences(expected, content(workspace)) == [f"not equal: {part.relative_to(workspace)}"]
    assert leftovers(workspace) == [f"left behind: {stray}"]


def test_the_ledger_counts_parts_and_the_clock_is_ours(tmp_path):
    case = Case(tmp_path / "case", short=True)
    case.clock.write_text("1e9")
    code = (
        "import os, sys, time\n"
        "for name in ('x/part-00000.parquet', 'x/manifest.json'):\n"
        "    open('a', 'w').close(); os.replace('a', sys.argv[1] + '/' + name)\n"
        "print(time.time() > 2.5e9)"
    )
    (tmp_path / "x").mkdir()
    environment = case.environment(shifted_clock=True)
    ending = Driver([sys.executable, "-c", code, str(tmp_path)], environment, case.folder).end()
    assert (ending.code, ending.stdout, ending.stderr) == (0, "True\n", "")
    assert case.written() == [tmp_path / "x" / "part-00000.parquet"]


def test_the_report_counts_endings():
    tally = Tally("two drivers")
    tally.add([0, 0], 1.5, remade=0)
    tally.add([0, 2], 4.25, remade=3)
    assert report([tally], "markdown", "2 faults").splitlines()[2:] == [
        "| two drivers | 2 | 0 (3), 2 (1) | 3 | 4.2 |",
        "",
        "2 faults",
    ]
