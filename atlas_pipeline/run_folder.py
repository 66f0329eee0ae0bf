"""The folder of a run on disk: which files are ours, and which of them stay.

A file is written only where it is missing or differs; one that an earlier publication left and this one does
not make is removed; the user's own stay.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any

from atlas_pipeline.config import Config
from atlas_pipeline.engine.files import atomic_file
from atlas_pipeline.engine.place import Place, content_of, disk_errors, place_of

PUBLISHED = ".published.json"
_COPIED_BYTES = 1 << 20


def run_folder(config: Config) -> Place:
    """`<workspace>/runs/<name>`."""
    return place_of(config.run.workspace) / "runs" / config.name


def reached(folder: Place) -> set[str]:
    """Fingerprints of the artefacts that a run's folder was last made from."""
    record = _published(folder)
    kept = (fingerprint for kept in record["by_command"].values() for fingerprint in kept["own"])
    return {*record["artefacts"], *kept}


def published_files(folder: Place) -> list[str]:
    """Names of the files that the last publication left in a run's folder; none where there was none."""
    return list(_published(folder)["files"])


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


def _compared(path: Place, pieces: Iterator[bytes]) -> tuple[int, bytes | None]:
    """How many bytes a file begins with as it should, whole pieces of them, and the first piece that differs;
    None where the file is as it should be."""
    try:
        with disk_errors(path):
            file = _opened(path)
    except FileNotFoundError:
        return 0, b""
    num_bytes = 0
    with file:
        for piece in pieces:
            if file.read(len(piece)) != piece:
                return num_bytes, piece
            num_bytes += len(piece)
        return num_bytes, b"" if file.read(1) else None


def _first_bytes(path: Place, num_bytes: int) -> Iterator[bytes]:
    if not num_bytes:
        return
    with _opened(path) as file:
        while num_bytes and (piece := file.read(min(num_bytes, _COPIED_BYTES))):
            num_bytes -= len(piece)
            yield piece


def _opened(path: Place) -> IO[bytes]:
    return open(path, "rb") if isinstance(path, Path) else io.BytesIO(content_of(path))


class RunFolder:
    """A run's folder, and which of its files this publication made."""

    def __init__(self, path: Place) -> None:
        self.path = path
        before = _published(path)
        self._before, self._now = set(before["files"]), set[str]()
        self._by_command = dict(before["by_command"])

    def write(self, name: str, content: bytes) -> None:
        """Write a file, if it is not there as it should be."""
        self.write_pieces(name, [content])

    def write_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        """The same, piece by piece: the file is not held as a whole, but where the folder is a URL."""
        self._now.add(name)
        path, rest = self.path / name, iter(pieces)
        same_bytes, other = _compared(path, rest)
        if other is None:
            return
        with atomic_file(path) as file:
            for piece in chain(_first_bytes(path, same_bytes), [other], rest):
                file.write(piece)

    def keep(self, names: Sequence[str], *, own: Collection[str], beneath: Collection[str]) -> None:
        """These files stay while the artefacts beneath are the run's; own: artefacts made for them alone."""
        for name in names:
            self._by_command[name] = {"own": sorted(own), "beneath": sorted(beneath)}

    def let_go(self, file: str) -> None:
        """What commands made under this name stays no longer, whatever folder it is in."""
        self._by_command = {
            name: sources for name, sources in self._by_command.items() if PurePosixPath(name).name != file
        }

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
            self._remove_empty(PurePosixPath(name).parent)
        record = {
            "artefacts": sorted(set(fingerprints)),
            "files": sorted(self._now | set(kept)),
            "by_command": kept,
        }
        self.write(PUBLISHED, json.dumps(record, indent=1).encode())

    def _remove_empty(self, folder: PurePosixPath) -> None:
        # Behind a URL there are no folders.
        while isinstance(self.path, Path) and folder.parts:
            try:
                (self.path / folder).rmdir()
            except OSError:
                return  # not empty: something else is in it
            folder = folder.parent
