"""A run killed part-way, or spread over workers, ends equal to an undisturbed one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

pytestmark = pytest.mark.extended

# The network's kernels may sum in another order in several processes than in one, and every step of an icon's
# optimisation runs through them. All other columns are bit-equal.
NETWORK_COLUMNS = (
    "activation",
    "attribution",
    "fidelity",
    "fidelity_centred",
    "fidelity_whitened",
    "objective",
)
TOLERANCE = 1e-3


def _tables(workspace: Path) -> dict[str, pa.Table]:
    """Tables of all artefacts in a workspace, keyed by stage and fingerprint."""
    tables = {}
    for manifest in sorted((workspace / "cache").glob("*/*/manifest.json")):
        parts = sorted(manifest.parent.glob("part-*.parquet"))
        name = f"{manifest.parent.parent.name} {manifest.parent.name}"
        tables[name] = pa.concat_tables([pq.read_table(part) for part in parts])
        recorded = json.loads(manifest.read_text())
        assert len(recorded["parts"]) == len(parts)
    return tables


def _assert_equal(left: dict[str, pa.Table], right: dict[str, pa.Table], tolerance: bool = False) -> None:
    assert left.keys() == right.keys()
    for name, table in left.items():
        other = right[name]
        assert table.column_names == other.column_names
        for column in table.column_names:
            mine, theirs = table[column].combine_chunks(), other[column].combine_chunks()
            if tolerance and column in NETWORK_COLUMNS and not mine.equals(theirs):
                a, b = (np.asarray(c.flatten() if hasattr(c, "flatten") else c) for c in (mine, theirs))
                np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
            else:
                assert mine.equals(theirs), f"{name}: {column}"


def _command(config: dict, tmp_path: Path, *arguments: str) -> list[str]:
    path = tmp_path / "killed.yaml"
    path.write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "atlas_pipeline", "run", str(path), "--quiet", *arguments]


def _in(config: dict, workspace: Path) -> dict:
    return {**config, "run": {**config["run"], "workspace": str(workspace)}}


@pytest.fixture(scope="module")
def slow(small_in, tmp_path_factory) -> dict:
    """The small run with enough work per stage to be killed in it; the network logs who opens it."""
    folder = tmp_path_factory.mktemp("slow")
    config = small_in(folder)
    network = folder / "network.py"
    told = "import os; open(os.environ.get('OPENED', os.devnull), 'a').write(f'{os.getpid()}\\n')"
    network.write_text(network.read_text().replace("def build():", f"def build():\n    {told}"))
    config["images"]["num_images"] = 900
    config["sample"]["shard_size"] = 100
    config["project"]["num_epochs"] = 300
    # There are cells for four tasks of icons, so three tasks remain when the first part exists.
    config["grid"] = {"sizes": [48], "min_count": 1}
    config["invert"]["steps"] = 12
    return config


@pytest.fixture(scope="module")
def undisturbed(slow, tmp_path_factory) -> dict[str, pa.Table]:
    """The artefacts of the slow run in one process, never killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(_command(_in(slow, folder / "workspace"), folder), check=True, capture_output=True)
    return _tables(folder / "workspace")


@pytest.mark.parametrize("stage", ["sample", "project", "invert"])
def test_a_killed_run_goes_on_and_ends_the_same(slow, undisturbed, tmp_path, stage):
    workspace = tmp_path / "killed"
    killed = _in(slow, workspace)
    process = subprocess.Popen(_command(killed, tmp_path))
    deadline = time.monotonic() + 120
    # Kill when sample or invert has a part but no manifest. project has a single part: wait for its inputs.
    started = "neighbors/*/manifest.json" if stage == "project" else f"{stage}/*/part-*.parquet"
    while not list((workspace / "cache").glob(started)):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not list((workspace / "cache" / stage).glob("*/manifest.json")), "killed too late to show anything"
    parts_before = {p: p.stat().st_mtime_ns for p in (workspace / "cache").glob("*/*/part-*.parquet")}
    result = subprocess.run(_command(killed, tmp_path), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(path.stat().st_mtime_ns == then for path, then in parts_before.items())
    assert not list((workspace / "cache").glob("*/*/.*.tmp"))
    _assert_equal(undisturbed, _tables(workspace))


def test_two_workers_give_what_one_process_gives_and_open_the_network_once_each(slow, undisturbed, tmp_path):
    opened = tmp_path / "opened"
    command = _command(_in(slow, tmp_path / "spread"), tmp_path, "--local-cluster", "2")
    environment = {**os.environ, "OPENED": str(opened)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    _assert_equal(undisturbed, _tables(tmp_path / "spread"), tolerance=True)
    # The driver opens it to look up the layers; two workers open it to sample, crop and optimise icons.
    processes = opened.read_text().split()
    assert len(processes) == len(set(processes)) == 3


def test_batch_size_and_workers_do_not_change_results(slow, undisturbed, atlas, tmp_path):
    other = _in(slow, tmp_path / "other")
    other["run"] |= {"batch_size": 17, "workers": 1}
    assert atlas("run", other).exit_code == 0
    _assert_equal(undisturbed, _tables(tmp_path / "other"), tolerance=True)


def test_two_runs_at_once_make_everything_once(slow, tmp_path):
    command = _command(_in(slow, tmp_path / "shared"), tmp_path)
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    counts = [int(line.split()[0]) for text in printed for line in text.splitlines() if "tasks run" in line]
    parts = list((tmp_path / "shared" / "cache").glob("*/*/part-*.parquet"))
    assert sum(counts) == len(parts)
