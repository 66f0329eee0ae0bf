"""A run in progress, and the moment at which a fault strikes it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from atlas_pipeline.engine.manifest import MANIFEST_NAME
from scripts.soak.case import Case
from scripts.soak.driver import Disk, Driver

# Before our first line runs, Python itself answers Ctrl-C with a traceback.
UNDER_WAY_CPU_S = 1.0


@dataclass
class Scene:
    """A run in progress, for a fault to strike.

    missing: number of parts that the run has to make. spoiled: files of the workspace that we have damaged.
    drivers: the started commands, the disturbed run first.
    """

    case: Case
    disk: Disk
    workspace: Path
    random: random.Random
    missing: int
    arguments: tuple[str, ...]
    spoiled: set[Path]
    drivers: list[Driver] = field(default_factory=list)
    struck_at: float = 0.0

    @property
    def driver(self) -> Driver:
        return self.drivers[0]

    def wait_for_moment(self, ready: Callable[[], object] = lambda: True) -> bool:
        """Wait until a random share of the work is done and ``ready()`` is true.

        Returns: False if the run ended first.
        """
        goal = len(self.case.written()) + self.random.randrange(max(1, self.missing))
        while len(self.case.written()) < goal or not self._is_under_way() or not ready():
            if not self.driver.is_running:
                return False
            time.sleep(0.005)
        time.sleep(self.random.uniform(0, 0.4))
        self.struck_at = time.monotonic()
        return self.driver.is_running

    def _is_under_way(self) -> bool:
        try:
            return psutil.Process(self.driver.pid).cpu_times().user > UNDER_WAY_CPU_S
        except psutil.Error:
            return False

    def finished_folders(self) -> list[Path]:
        """Folders of finished artefacts without damage.

        In an unfinished artefact, only page checksums reveal damage.
        """
        folders = sorted(path.parent for path in self.workspace.glob(f"cache/*/*/{MANIFEST_NAME}"))
        return [folder for folder in folders if not any(folder in path.parents for path in self.spoiled)]

    def spoil(self, path: Path) -> Path:
        self.spoiled.add(path)
        return path
