"""Which GPU computes what: the chosen one alone, or one for each worker of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml
from click.testing import CliRunner, Result
from pretended_cuda import pretended_cuda

from atlas_pipeline.cli.main import main


@pytest.fixture
def command(small: dict[str, Any], tmp_path: Path) -> Callable[..., Result]:
    """`command("sample", device, *options)`: an `atlas` command in a workspace of its device."""

    def call(name: str, device: str, *options: str) -> Result:
        run = {**small["run"], "device": device, "workspace": str(tmp_path / device)}
        path = tmp_path / f"{device}.yaml"
        path.write_text(yaml.safe_dump({**small, "run": run}))
        result = CliRunner().invoke(main, [name, str(path), "--quiet", *options], catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return result

    return call


def test_the_other_gpus_are_left_alone(command):
    with pretended_cuda(2) as log:
        command("run", "cuda:1")
    assert set(log.contexts) == {1}, log.contexts


@pytest.mark.extended
def test_two_workers_have_a_gpu_each_and_the_driver_none(command, monkeypatch, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setenv("PRETENDED_WORKER_NOTES", str(notes))
    with dask.config.set({"distributed.worker.preload": ["pretended_worker"]}), pretended_cuda(2) as driver:
        command("sample", "cuda", "--local-cluster", "auto")
    workers = [json.loads(path.read_text()) for path in notes.iterdir()]
    assert sorted(worker["sees"] for worker in workers) == ["4", "7"]
    assert all(worker["launches"] and worker["contexts"] == [0] for worker in workers), workers
    assert driver.contexts == {}
