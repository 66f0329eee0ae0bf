"""The run under test: its images, network and config."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from scripts.soak.driver import Driver

SITE = Path(__file__).parent / "site"

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


class Case:
    """A folder with the images, the network and the config. Each run of it has its own workspace.

    short: reduce the work to about a quarter, for CI.
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
            # t-SNE, because compiling UMAP takes each process half a minute in which no fault can strike.
            "project": {"method": "tsne", "num_epochs": 250, "num_neighbors": 5},
            "grid": {"sizes": [24] if short else [8, 32], "min_count": 1},
            "invert": {"size_px": 16, "steps": 8 if short else 24},
            "classes": []
            if short
            else [{"class": "bee", "layers": ["4"], "top": 100, "grid": {"sizes": [6], "min_count": 1}}],
            "run": {"device": "cpu", "batch_size": 10, "workers": 0},
        }

    def start(self, workspace: Path, *arguments: str, shifted_clock: bool = False) -> Driver:
        """Start `atlas run` on the case in a new session."""
        command = [sys.executable, "-m", "atlas_pipeline", "run", str(self.config)]
        command += ["--set", f"run.workspace={workspace}", *arguments]
        return Driver(command, self.environment(shifted_clock), self.folder)

    def environment(self, shifted_clock: bool) -> dict[str, str]:
        found = {
            **os.environ,
            "PYTHONPATH": str(SITE),
            "SOAK_LEDGER": str(self.ledger),
            # One thread everywhere: with more, sums change their order and results are not bit-identical.
            **dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        }
        if shifted_clock:
            found["SOAK_CLOCK"] = str(self.clock)
        return found

    def written(self) -> list[Path]:
        """Path of every part renamed into place, once for each rename."""
        return [Path(line) for line in self.ledger.read_text().splitlines()]


def _picture(number: int) -> Image.Image:
    """A noisy 32 x 32 gradient; the number is its seed."""
    random = np.random.default_rng(number)
    corners = random.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(corners).resize((32, 32), Image.Resampling.BILINEAR), np.int16)
    return Image.fromarray(np.clip(smooth + random.integers(-25, 26, (32, 32, 3)), 0, 255).astype(np.uint8))
