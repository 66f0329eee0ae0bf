"""Export of a run's folder and its provenance as one zip archive; equal runs give equal bytes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from atlas_pipeline import __version__
from atlas_pipeline.engine.atomic_files import atomic_file, remove_temporary_files_of
from atlas_pipeline.engine.location import Location, disk_errors
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.publish.run_record import Record, read_record

PROVENANCE_FILE = "provenance.json"
# A constant time, the earliest that a zip can hold: the archive must not depend on when files were written.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
# These files are already compressed. Deflating them again takes seconds and saves nothing.
_COMPRESSED = (".png", ".jpg", ".jpeg", ".webp")
_CHUNK_BYTES = 1 << 20


def export_run(folder: Location, path: Location) -> int:
    """Write a zip of all files that this program made in a run's folder, in a folder with the run's name.

    The user's own files are left out. Leftovers of an earlier, killed export to the same path are removed.
    Files are streamed through a small buffer, but an archive at a URL is in memory until it is uploaded.

    Returns: number of files, including the provenance.
    Raises:  ConfigError: the run has no atlas yet, one of its files is missing, or its record cannot be read.
             ResourceError: the archive cannot be written.
    """
    record = read_record(folder) or Record()
    names = sorted(record.files)
    if not any(Path(name).match("atlas-*.json") for name in names):
        raise ConfigError(f"run '{folder.name}' has no atlas yet ({folder}); make it with: atlas run")
    digests = {}
    remove_temporary_files_of(path)
    with atomic_file(path) as file, zipfile.ZipFile(cast("IO[bytes]", file), "w") as archive:
        for name in names:
            try:
                digests[name] = _pack(archive, f"{folder.name}/{name}", folder / name)
            except FileNotFoundError:
                raise ConfigError(f"{folder / name} is gone; make it again with: atlas run") from None
        text = json.dumps(_provenance(folder, record, digests), indent=1).encode()
        archive.writestr(_entry(f"{folder.name}/{PROVENANCE_FILE}", len(text)), text)
    return len(names) + 1


def _pack(archive: zipfile.ZipFile, name: str, path: Location) -> str:
    """Add a file to the archive; return the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    with (
        disk_errors(path),
        path.open("rb") as source,
        archive.open(_entry(name, path.stat().st_size), "w") as target,
    ):
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


def _entry(name: str, size_bytes: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _NO_TIME)
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(_COMPRESSED) else zipfile.ZIP_DEFLATED
    # A regular Unix file that everyone can read, so that the archive is the same on every platform.
    entry.create_system, entry.external_attr = 3, 0o100644 << 16
    # zipfile decides from the size whether the entry needs 64-bit sizes.
    entry.file_size = size_bytes
    return entry


def _provenance(folder: Location, record: Record, digests: Mapping[str, str]) -> dict[str, Any]:
    """The fingerprints of the artefacts that the run is made from, and the digest of each file."""
    return {
        "software": f"atlas-pipeline {__version__}",
        "run": folder.name,
        "artefacts": sorted(record.made_from),
        "files": dict(digests),
    }
