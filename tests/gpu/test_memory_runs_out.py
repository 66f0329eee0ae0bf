"""Memory that runs out, in each of the ways in which a GPU reports it, ends no run that could go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from pretended_cuda import OUT_OF_MEMORY
from torch import Tensor

from atlas_pipeline.cli.main import main
from atlas_pipeline.errors import ResourceError
from atlas_pipeline.inversion import Channel, Icons, InversionSettings, invert, score
from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.cut import cut

ALWAYS = 1 << 30


@pytest.fixture(params=OUT_OF_MEMORY)
def kind(request: pytest.FixtureRequest) -> str:
    """One of the ways in which torch and its libraries report a lack of memory."""
    return request.param


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def layer() -> Callable[[str], Any]:
    """`layer(device)`: the demo network up to its first stage."""
    return lambda device: cut(open_network(ModelSpec(source="demo")).to(device), "mixed3")


@pytest.fixture(scope="module")
def icons(layer: Callable[[str], Any]) -> Callable[[str], Icons]:
    """`icons(device)`: more icons than the trial steps take."""
    on_the_cpu: list[Icons] = []

    def call(device: str) -> Icons:
        if device != "cpu":
            return made(device)
        if not on_the_cpu:
            on_the_cpu.append(made(device))
        return on_the_cpu[0]

    def made(device: str) -> Icons:
        settings = InversionSettings(size_px=16, steps=1, arithmetic="float32")
        return invert(layer(device), random(40, 64), range(40), settings, device=device)

    return call


def assert_same_icons(there: Icons, here: Icons) -> None:
    """Equal within the tolerance of docs/artefacts.md for another batch size."""
    torch.testing.assert_close(there.fidelity, here.fidelity, atol=1e-3, rtol=0)
    assert (there.images.int() - here.images.int()).abs().float().mean() < 0.1


def test_a_trial_step_without_memory_means_a_small_batch(gpu, kind, icons):
    refusal = gpu.refuse(kind, "convolution_backward")
    assert_same_icons(icons("cuda"), icons("cpu"))
    assert refusal.raised == 1


def test_a_step_without_memory_goes_on_with_half_the_icons(gpu, kind, icons):
    refusal = gpu.refuse(kind, "convolution_backward", more_rows_than=32, times=ALWAYS)
    assert_same_icons(icons("cuda"), icons("cpu"))
    assert refusal.raised


def test_one_icon_without_memory_is_an_error_with_a_remedy(gpu, kind, icons):
    gpu.refuse(kind, "convolution_backward", times=ALWAYS)
    with pytest.raises(ResourceError, match="lower size_px"):
        icons("cuda")


def test_scores_without_memory_go_on_with_half_the_icons(gpu, kind, layer):
    images = (random(8, 32, 32, 3) * 255).to(torch.uint8)
    here = score(Channel(layer("cpu"), range(8)), images)
    goal = Channel(layer("cuda"), range(8))
    refusal = gpu.refuse(kind, "convolution", more_rows_than=3, times=ALWAYS)
    torch.testing.assert_close(score(goal, images, "cuda"), here)
    assert refusal.raised > 1


def test_neighbours_without_memory_are_searched_on_the_cpu(gpu, kind):
    vectors = random(60, 8).numpy()
    here = neighbors([vectors], 60, 5)
    refusal = gpu.refuse(kind, times=ALWAYS, at="layout/exact_search.py")
    there = neighbors([vectors], 60, 5, device="cuda")
    assert refusal.raised
    assert np.array_equal(there.indices, here.indices)


def run(small: dict[str, Any], folder: Path, device: str, name: str, changes: dict[str, Any]) -> Result:
    """An `atlas` command on a device, with changes to the small config."""
    of_run = {**small["run"], "device": device, "workspace": str(folder / "workspace"), "batch_size": 16}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**small, **changes, "run": of_run}))
    return CliRunner().invoke(main, [name, str(path), "--quiet"], catch_exceptions=False)


@pytest.fixture
def command(small: dict[str, Any], tmp_path: Path) -> Callable[..., Result]:
    """`command("sample", {...})`: `run` on the GPU."""
    return lambda name, changes: run(small, tmp_path, "cuda", name, changes)


def sampled(folder: Path) -> pa.Table:
    import pyarrow.parquet as pq

    parts = sorted((folder / "workspace" / "cache" / "sample").glob("*/*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts])


@pytest.fixture(scope="module")
def sampled_on_the_cpu(
    small_in: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> pa.Table:
    folder = tmp_path_factory.mktemp("cpu")
    assert run(small_in(folder), folder, "cpu", "sample", {}).exit_code == 0
    return sampled(folder)


@pytest.mark.parametrize(
    ("operation", "rows"), [("convolution", 4), ("pin_memory", 0), ("copy to the GPU", 4)]
)
def test_sampling_without_memory_goes_on(gpu, kind, command, sampled_on_the_cpu, tmp_path, operation, rows):
    refusal = gpu.refuse(kind, operation, more_rows_than=rows, times=ALWAYS, at="stages/sampling/sample.py")
    result = command("sample", {})
    assert (result.exit_code, result.stderr) == (0, result.stderr)
    assert refusal.raised
    here, there = sampled_on_the_cpu, sampled(tmp_path)
    for name in here.column_names:
        a, b = (np.array(table[name].to_pylist(), np.float64) for table in (here, there))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def assert_one_line(result: Result) -> None:
    """The command failed with one line that names memory; finished work is kept."""
    assert result.exit_code in (2, 3), (result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    assert "memory" in line


def test_a_network_that_does_not_fit_is_one_line(gpu, kind, command):
    gpu.refuse(kind, "copy to the GPU", times=ALWAYS)
    assert_one_line(command("sample", {}))


def test_a_layout_that_does_not_fit_is_made_on_the_cpu(gpu, kind, command):
    refusal = gpu.refuse(kind, times=ALWAYS, at="layout/gpu_umap.py")
    result = command("project", {"project": {"num_neighbors": 5, "num_epochs": 5, "engine": "gpu"}})
    assert (result.exit_code, result.stderr) == (0, result.stderr)
    assert refusal.raised
