"""A run as one archive: what its folder holds, and where it comes from. The same run, the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from atlas_pipeline import __version__
from atlas_pipeline.engine.files import atomic_file
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.run_folder import published_files, reached

PROVENANCE_FILE = "provenance.json"
# The earliest time that a zip can hold: when a file was written is no property of the run.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
# Compressed already: deflating them again takes seconds and saves nothing.
_COMPRESSED = (".png", ".jpg", ".jpeg", ".webp")


def export_run(folder: Path, path: Path) -> int:
    """Write a zip of everything that the program made in a run's folder, below the run's name.

    Files of the user's own are left out. Streamed: one file at a time, a buffer of it in memory.

    Returns: number of files, the provenance among them.
    Raises:  ConfigError: the run has no atlas yet, or one of its files is gone. ResourceError: it cannot
             be written.
    """
    names = sorted(published_files(folder))
    if not any(Path(name).match("atlas-*.json") for name in names):
        raise ConfigError(f"run '{folder.name}' has no atlas yet ({folder}); make it with: atlas run")
    if gone := [name for name in names if not (folder / name).is_file()]:
        raise ConfigError(f"{folder / gone[0]} is gone ({len(gone)} such); make it again with: atlas run")
    with atomic_file(path) as file, zipfile.ZipFile(cast("IO[bytes]", file), "w") as archive:
        for name in names:
            entry = _entry(folder.name, name, (folder / name).stat().st_size)
            with (folder / name).open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        text = json.dumps(_provenance(folder, names), indent=1).encode()
        with archive.open(_entry(folder.name, PROVENANCE_FILE, len(text)), "w") as target:
            target.write(text)
    return len(names) + 1


def _entry(run: str, name: str, size_bytes: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{run}/{name}", _NO_TIME)
    info.compress_type = zipfile.ZIP_STORED if name.endswith(_COMPRESSED) else zipfile.ZIP_DEFLATED
    # A plain file of Unix, readable by all, whatever the machine that packs it.
    info.create_system, info.external_attr = 3, 0o100644 << 16
    # Known beforehand, it decides whether the entry needs 64-bit sizes.
    info.file_size = size_bytes
    return info


def _provenance(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Which artefacts the run is made from, and what each file should be."""
    return {
        "software": f"atlas-pipeline {__version__}",
        "run": folder.name,
        "artefacts": sorted(reached(folder)),
        "files": {name: _sha256(folder / name) for name in names},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
