"""The run that is soaked: its images, network and config, its processes, and the disk it works on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from PIL import Image

HANG_S = 300.0
DISK_MB = 96
SITE = Path(__file__).parent / "soak_site"

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


@dataclass(frozen=True)
class Ending:
    """How a command ended. code: as subprocess gives it; hung: it had to be killed by us."""

    code: int
    stdout: str
    stderr: str
    hung: bool


class Case:
    """A folder with the images, the network and the config; runs of it go to workspaces of their own.

    short: about a quarter of the work, for CI.
    """

    def __init__(self, folder: Path, *, short: bool = False) -> None:
        self.folder = folder
        self.ledger, self.clock, self.config = (folder / n for n in ("ledger.txt", "clock.txt", "soak.yaml"))
        (folder / "images").mkdir(parents=True)
        (folder / "network.py").write_text(NETWORK)
        self.ledger.touch()
        self.clock.write_text("0")
        num_images = 160 if short else 480
        for number in range(num_images):
            _picture(number).save(folder / "images" / f"{number:04d}.png")
        self.config.write_text(yaml.safe_dump(self._values(short)))

    def _values(self, short: bool) -> dict[str, Any]:
        return {
            "name": "soak",
            "model": {"source": "python", "name": f"{self.folder}/network.py:build"},
            "images": {"source": "folder", "path": str(self.folder / "images"), "num_images": None},
            "layers": ["4"] if short else ["1", "4"],
            "sample": {"shard_size": 20},
            # Not UMAP: compiling it takes every process half a minute, in which nothing can break.
            "project": {"method": "tsne", "num_epochs": 250, "num_neighbors": 5},
            "grid": {"sizes": [24] if short else [8, 32], "min_count": 1},
            "invert": {"size_px": 16, "steps": 8 if short else 24},
            "classes": []
            if short
            else [{"class": "bee", "layers": ["4"], "top": 100, "grid": {"sizes": [6], "min_count": 1}}],
            "run": {"device": "cpu", "batch_size": 10, "workers": 0},
        }

    def start(self, workspace: Path, *arguments: str, shifted_clock: bool = False) -> Driver:
        """`atlas run` of the case, in a session of its own."""
        command = [sys.executable, "-m", "atlas_pipeline", "run", str(self.config)]
        command += ["--set", f"run.workspace={workspace}", *arguments]
        return Driver(command, self.environment(shifted_clock), self.folder)

    def environment(self, shifted_clock: bool) -> dict[str, str]:
        found = {
            **os.environ,
            "PYTHONPATH": str(SITE),
            "SOAK_LEDGER": str(self.ledger),
            # One thread everywhere: else kernels add in another order, and nothing is equal to the bit.
            **dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        }
        if shifted_clock:
            found["SOAK_CLOCK"] = str(self.clock)
        return found

    def written(self) -> list[Path]:
        """Every part that was put in its place, once for each time."""
        return [Path(line) for line in self.ledger.read_text().splitlines()]


class Driver:
    """A command and the processes it started."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self.started = time.monotonic()
        number = len(list(folder.glob("*.stderr")))
        self._outputs = [folder / f"{number:04d}.stdout", folder / f"{number:04d}.stderr"]
        with self._outputs[0].open("wb") as out, self._outputs[1].open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=errors,
                env=environment,
                start_new_session=True,
                # As many threads a worker as in one process: a cluster of two shares out the cores it sees.
                preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2]),
            )
        self.pid = self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int, *, group: bool) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def end(self) -> Ending:
        """Wait for it."""
        hung = False
        try:
            self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            hung = True
            self.signal(signal.SIGKILL, group=True)
            self._process.wait()
        stdout, stderr = (path.read_text(errors="replace") for path in self._outputs)
        return Ending(self._process.returncode, stdout, stderr, hung)

    def processes(self) -> list[psutil.Process]:
        """All of its session, itself too, that still live."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def dask_workers(self) -> list[psutil.Process]:
        return [p for p in self.processes() if "spawn_main" in _command_line(p)]

    def image_workers(self) -> list[psutil.Process]:
        """Children of the fork server; it has their command line too."""
        servers = [p for p in self.processes() if "forkserver" in _command_line(p) and p.ppid() == self.pid]
        return [child for server in servers for child in server.children()]


@dataclass(frozen=True)
class Disk:
    """Where the disturbed run works. is_own: a small file system that can be filled up."""

    path: Path
    is_own: bool

    @cached_property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self, leave_bytes: int) -> None:
        """Take all space but this much."""
        free = os.statvfs(self.path)
        size = max(0, free.f_bavail * free.f_frsize - leave_bytes)
        with self.ballast.open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, size))


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """A tmpfs where mounting is allowed, else the folder as it is."""
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(path)]
    is_own = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield Disk(path, is_own)
    finally:
        if is_own:
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=True)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _picture(number: int) -> Image.Image:
    """A gradient with noise, 32 x 32, of its own for each number."""
    random = np.random.default_rng(number)
    corners = random.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(corners).resize((32, 32), Image.Resampling.BILINEAR), np.int16)
    return Image.fromarray(np.clip(smooth + random.integers(-25, 26, (32, 32, 3)), 0, 255).astype(np.uint8))
