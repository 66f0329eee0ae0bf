"""Fixtures for small whole runs: a network in a file, generated images and a workspace per test."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

if "PYTEST_XDIST_WORKER" in os.environ:
    # Parallel test processes with one thread per core each would compete for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Runs stay in the process of the test, where it can look into them, unless the test asks for workers.
os.environ.setdefault("ATLAS_LOCAL_CLUSTER", "0")

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    )

PREPROCESS = dict(resize=32, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
LABELS = ["ant", "bee", "cat", "dog", "emu"]
"""
EARLY, LATE = "1", "4"

# Tests that use one of these fixtures are extended: a browser, an S3 server.
EXTENDED_FIXTURES = {"browser", "s3_server"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a slow fixture, before pytest deselects by marker; put long files first."""
    for item in items:
        if EXTENDED_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.extended)
    # A long file that starts last occupies one process while the others are done.
    long = {item.path for item in items if item.get_closest_marker("extended")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Leave files to the system's cache: a hundred of them are synced per run, and no test cuts the power."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _generated_images_are_drawn_once() -> Iterator[None]:
    """Remember generated images, which are pure functions: hundreds of small runs read the same sixty."""
    from atlas_pipeline.images import generated

    drawn = functools.lru_cache(maxsize=2048)(generated.image)

    def image(seed: int, index: int) -> tuple[Any, int]:
        pixels, label = drawn(seed, index)
        return pixels.copy(), label

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(generated, "image", image)
        yield


@pytest.fixture
def small(small_in: Callable[[Path], dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """Config of a whole run that takes a second or two."""
    return small_in(tmp_path)


@pytest.fixture(scope="session")
def small_in() -> Callable[[Path], dict[str, Any]]:
    """`small_in(folder)`: write the network and return the config of a small run, both in that folder."""

    def call(folder: Path) -> dict[str, Any]:
        (folder / "network.py").write_text(NETWORK)
        return {
            "name": "small",
            "model": {"source": "python", "name": f"{folder}/network.py:build"},
            "images": {"source": "generated", "num_images": 60},
            "layers": [LATE],
            "sample": {"shard_size": 25},
            "project": {"num_neighbors": 5, "num_epochs": 10},
            "grid": {"sizes": [3], "min_count": 2},
            "invert": {"size_px": 16, "steps": 2},
            "run": {"workspace": str(folder / "workspace"), "device": "cpu", "workers": 0},
        }

    return call


@pytest.fixture
def atlas(tmp_path: Path) -> Callable[..., Result]:
    """`atlas(command, config, *arguments)`: run it in this process; returns a Click Result."""
    from atlas_pipeline.cli.main import main

    def call(command: str, config: dict[str, Any], *arguments: str) -> Result:
        path = tmp_path / f"{config['name']}.yaml"
        path.write_text(yaml.safe_dump(config))
        result = CliRunner().invoke(main, [command, str(path), *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture(scope="session")
def kept_workspaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Path, Path]]]:
    """The folder of the workspaces that `finished` keeps; by config, each and the folder it was made in."""
    return tmp_path_factory.mktemp("finished"), {}


@pytest.fixture
def finished(
    atlas: Callable[..., Result], tmp_path: Path, kept_workspaces: tuple[Path, dict[str, tuple[Path, Path]]]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`finished(config)`: run it to the end in its workspace; computed once per session, then copied."""
    folder, kept = kept_workspaces

    def call(config: dict[str, Any]) -> dict[str, Any]:
        # Other sources read files, which the key does not cover.
        assert config["images"]["source"] == "generated"
        network, workspace = (tmp_path / "network.py").read_text(), Path(config["run"]["workspace"])
        key = yaml.safe_dump(config).replace(str(tmp_path), "") + network
        if key not in kept:
            result = atlas("run", config)
            assert result.exit_code == 0, result.stderr
            kept[key] = folder / str(len(kept)), tmp_path
            shutil.copytree(workspace, kept[key][0])
        else:
            copy, made_in = kept[key]
            shutil.copytree(copy, workspace)
            # The run's config names files of the test that made it.
            for path in workspace.glob("runs/*/config.yaml"):
                path.write_text(path.read_text().replace(str(made_in), str(tmp_path)))
        return config

    return call


@pytest.fixture
def may_not_look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """`may_not_look(folder)`: act as if the folder were another user's; even root may not `stat` in it."""
    stat = Path.stat

    def refuse(folder: Path) -> None:
        def look(path: Path, **how: Any) -> Any:
            if folder in path.absolute().parents:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return stat(path, **how)

        monkeypatch.setattr(Path, "stat", look)

    return refuse


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """`refused(result, *words)`: exit code 2 and one error line that holds the words, without a traceback."""

    def call(result: Result, *words: str) -> None:
        assert result.exit_code == 2, (result.stdout, result.stderr)
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in result.stderr
        for word in words:
            assert word in line

    return call


@pytest.fixture
def states(atlas: Callable[..., Result]) -> Callable[..., dict[str, str]]:
    """`states(config)`: `atlas status --json` as {"bin 4 all 3": "done", ...}."""

    def call(config: dict[str, Any], *arguments: str) -> dict[str, str]:
        result = atlas("status", config, "--json", *arguments)
        assert result.exit_code == 0, result.stderr
        labels = ("stage", "layer", "view", "grid")
        listed = json.loads(result.stdout)
        return {" ".join(str(s[k]) for k in labels if s[k] is not None): s["state"] for s in listed}

    return call


@pytest.fixture
def store_of() -> Callable[..., Any]:
    """`store_of(config)("select", "class-bee")`: a finished artefact, by stage, view and layer."""
    from atlas_pipeline.config.loading import parse_config
    from atlas_pipeline.engine import Store, artefact_of
    from atlas_pipeline.runs.pipeline_file import steps_of

    def call(values: dict[str, Any]) -> Callable[..., Any]:
        config = parse_config(values)
        store, steps = Store(config.run.workspace), steps_of(config)

        def made(stage: str, view: str | None, layer: str | None = None) -> Any:
            found = [step for step in steps if (step.stage.name, step.view) == (stage, view)]
            (step,) = [step for step in found if layer in (None, step.layer)]
            return artefact_of(step, store)

        return made

    return call
