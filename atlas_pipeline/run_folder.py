"""The folder of a run on disk: which files are ours, and which of them stay.

A file is written only where it is missing or differs; one that an earlier publication left and this one does
not make is removed; the user's own stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from atlas_pipeline.config import Config
from atlas_pipeline.engine.files import atomic_file
from atlas_pipeline.engine.place import Place, content_of, disk_errors, place_of

PUBLISHED = ".published.json"


def run_folder(config: Config) -> Place:
    """`<workspace>/runs/<name>`."""
    return place_of(config.run.workspace) / "runs" / config.name


def reached(folder: Place) -> set[str]:
    """Fingerprints of the artefacts that a run's folder was last made from."""
    record = _published(folder)
    kept = (fingerprint for kept in record["by_command"].values() for fingerprint in kept["own"])
    return {*record["artefacts"], *kept}


def _published(folder: Place) -> Mapping[str, Any]:
    try:
        record = json.loads(content_of(folder / PUBLISHED))
    except (OSError, ValueError):
        record = {}
    return {"artefacts": [], "files": [], "by_command": {}} | record


def sweep_run(folder: Place) -> None:
    """Remove what a killed publication left half written. Only while nobody else publishes the run."""
    # Object stores show whole objects only.
    if isinstance(folder, Path):
        for leftover in folder.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)


class RunFolder:
    """A run's folder, and which of its files this publication made."""

    def __init__(self, path: Place) -> None:
        self.path = path
        before = _published(path)
        self._before, self._now = set(before["files"]), set[str]()
        self._by_command = dict(before["by_command"])

    def write(self, name: str, content: bytes) -> None:
        """Write a file, if it is not there as it should be."""
        self._now.add(name)
        path = self.path / name
        with disk_errors(path), suppress(FileNotFoundError):
            if path.stat().st_size == len(content) and content_of(path) == content:
                return
        with atomic_file(path) as file:
            file.write(content)

    def keep(self, names: Sequence[str], *, own: Collection[str], beneath: Collection[str]) -> None:
        """These files stay while the artefacts beneath are the run's; own: artefacts made for them alone."""
        for name in names:
            self._by_command[name] = {"own": sorted(own), "beneath": sorted(beneath)}

    def kept(self, fingerprints: Collection[str]) -> dict[str, Mapping[str, Sequence[str]]]:
        """What commands made, of now or earlier, that stays: what it was made from is the run's."""
        return {
            name: sources
            for name, sources in self._by_command.items()
            if set(sources["beneath"]) <= set(fingerprints) and (self.path / name).is_file()
        }

    def finish(self, fingerprints: Collection[str]) -> None:
        """Remove what is no longer made, and note what there is. fingerprints: of the run's artefacts."""
        kept = self.kept(fingerprints)
        for name in self._before - self._now - set(kept):
            (self.path / name).unlink(missing_ok=True)
        record = {
            "artefacts": sorted(set(fingerprints)),
            "files": sorted(self._now | set(kept)),
            "by_command": kept,
        }
        self.write(PUBLISHED, json.dumps(record, indent=1).encode())
