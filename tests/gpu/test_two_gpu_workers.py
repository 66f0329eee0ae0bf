"""A whole run on two pretended GPUs with a worker each, and CPU workers beside them."""

from pathlib import Path
from typing import Any

import dask
import distributed  # noqa: F401 - its defaults come before the setting below
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.runs import make


def tables(workspace: Path) -> dict[str, pa.Table]:
    """The tables of all finished artefacts but the checks, which name their device."""
    found = {}
    for manifest in (workspace / "cache").glob("*/*/manifest.json"):
        parts = sorted(manifest.parent.glob("part-*.parquet"))
        if manifest.parent.parent.name != "check":
            name = "/".join(manifest.parent.parts[-2:])
            found[name] = pa.concat_tables([pq.read_table(part) for part in parts])
    return found


@pytest.mark.extended
def test_the_artefacts_equal_those_of_one_process_on_the_cpu(
    small: dict[str, Any], atlas: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small["layers"] = ["1", "4"]
    small["project"]["engine"] = "cpu"
    small["classes"] = [{"class": "bee", "layers": ["4"], "perplexity": 5}]
    assert atlas("run", small).exit_code == 0
    on_cpu = tables(Path(small["run"]["workspace"]))

    small["run"] |= {"workspace": small["run"]["workspace"] + "-gpus", "device": "cuda", "workers": "auto"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(make, "resolved_device", lambda device: device)
    monkeypatch.setattr(make, "device_title", lambda device: device)
    with dask.config.set({"distributed.worker.preload": ["pretended_worker"]}):
        result = atlas("run", small, "--local-cluster", "auto")
    assert result.exit_code == 0, result.stderr
    on_gpus = tables(Path(small["run"]["workspace"]))
    assert on_gpus.keys() == on_cpu.keys()
    differing = [name for name, table in on_cpu.items() if not on_gpus[name].equals(table)]
    assert differing == []
