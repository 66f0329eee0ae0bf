"""The folder of a run on disk: writing its files, and removing those that are no longer part of the run.

A file is written only if it is missing or differs. A file of an earlier publication that the present one does
not make is removed. The user's own files stay.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Reach, Store
from atlas_pipeline.engine.atomic_files import atomic_file, file_digest
from atlas_pipeline.engine.location import Location, content_of, disk_errors, location_of
from atlas_pipeline.engine.lock import waiting_lock
from atlas_pipeline.errors import ConfigError, ResourceError
from atlas_pipeline.publish.run_record import Record, read_record, write_record

# `atlas figure` writes into this folder; a publication leaves it alone.
FIGURES_FOLDER = "figures"
_COPIED_BYTES = 1 << 20


def run_folder(config: Config) -> Location:
    """`<workspace>/runs/<name>`."""
    return location_of(config.run.workspace) / "runs" / config.name


@contextmanager
def folder_lock(store: Store, name: str) -> Iterator[bool]:
    """Lock the folder of a run, so that one process at a time publishes, draws or exports it.

    Yields: whether the lock is held. Where a lock file cannot be written, the folder cannot be written
            either; the caller goes on, because there may be nothing to write.
    """
    with ExitStack() as stack:
        is_locked = False
        with suppress(ResourceError):
            stack.enter_context(waiting_lock(store.lock_path("runs", name)))
            is_locked = True
        yield is_locked


def record_reach(config: Config, reach: Reach, store: Store) -> None:
    """Record the artefacts that a run will need before it makes them, so that `atlas clean` keeps them.

    Raises: ResourceError: the record cannot be written.
    """
    folder = run_folder(config)
    with folder_lock(store, config.name):
        record = _last_record(folder)
        if record.to_come != reach:
            write_record(folder, replace(record, to_come=reach))


def _last_record(folder: Location) -> Record:
    """The record that an earlier publication wrote; an empty, unfinished one if it cannot be read."""
    try:
        return read_record(folder) or Record()
    except ConfigError:
        return Record(unfinished=True)


def sweep_run(folder: Location) -> None:
    """Remove temporary files that a killed publication left. The caller must hold the folder's lock."""
    # Object stores never show partly written objects.
    if isinstance(folder, Path):
        for leftover in folder.rglob(".*.tmp"):
            if leftover.relative_to(folder).parts[0] != FIGURES_FOLDER:
                leftover.unlink(missing_ok=True)


def _matching_prefix(path: Location, pieces: Iterator[bytes]) -> tuple[int, bytes | None]:
    """Compare a file with its intended content.

    Returns: Number of leading bytes that match, in whole pieces, and the first piece that differs; None for
             the piece if the whole file matches.
    """
    try:
        with disk_errors(path):
            file = opened(path)
    except FileNotFoundError:
        return 0, b""
    num_bytes = 0
    with file:
        for piece in pieces:
            if file.read(len(piece)) != piece:
                return num_bytes, piece
            num_bytes += len(piece)
        return num_bytes, b"" if file.read(1) else None


def _first_bytes(path: Location, num_bytes: int) -> Iterator[bytes]:
    if not num_bytes:
        return
    with opened(path) as file:
        while num_bytes and (piece := file.read(min(num_bytes, _COPIED_BYTES))):
            num_bytes -= len(piece)
            yield piece


def opened(path: Location) -> IO[bytes]:
    """A file opened for reading bytes; one at a URL is downloaded as a whole first."""
    return open(path, "rb") if isinstance(path, Path) else io.BytesIO(content_of(path))


class RunFolder:
    """A run's folder, which keeps track of the files that this publication makes.

    The folder's record is marked unfinished from the first change until `finish`.
    """

    def __init__(self, path: Location, reach: Reach) -> None:
        """path: of the folder. reach: the artefacts that the run needs, done or not."""
        self.path = path
        self._before, self._reach, self._is_marked = _last_record(path), reach, False
        self._now = set[str]()
        self._by_command = dict(self._before.by_command)
        self._drawn = dict[str, Mapping[str, str]]()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, unless it already has this content."""
        self.write_pieces(name, [content])

    def write_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file piece by piece, unless it already has this content.

        The file is never in memory as a whole, unless the folder is at a URL.
        """
        self._now.add(name)
        path, rest = self.path / name, iter(pieces)
        num_matching, other = _matching_prefix(path, rest)
        if other is None:
            return
        self._mark_unfinished()
        with atomic_file(path) as file:
            for piece in chain(_first_bytes(path, num_matching), [other], rest):
                file.write(piece)

    def write_drawn(self, name: str, sources: str, draw: Callable[[], bytes]) -> None:
        """Draw and write a file, unless it is present, unchanged and drawn from the same sources.

        Args: sources: a digest of everything that the drawing depends on. draw: makes the content; slow.
        """
        self._now.add(name)
        drawn = self._before.drawn.get(name)
        if drawn is None or drawn["sources"] != sources or drawn["digest"] != _digest(self.path / name):
            self.write(name, draw())
            drawn = {"sources": sources, "digest": file_digest(self.path / name)}
        self._drawn[name] = drawn

    def _mark_unfinished(self) -> None:
        if not self._is_marked:
            self._is_marked = True
            # Only the old record's to_come has artefacts that a command requested in addition to the config.
            to_come = self._reach | self._before.to_come
            write_record(self.path, replace(self._before, to_come=to_come, unfinished=True))

    def keep(self, names: Sequence[str], *, own: Collection[str], beneath: Collection[str]) -> None:
        """Keep files that a command made in addition to the config's.

        Args: names: of the files. own: fingerprints of artefacts made for these files only. beneath:
              fingerprints of the run's artefacts that they were made from; the files stay only as long as the
              run has all of them.
        """
        for name in names:
            self._by_command[name] = {"own": sorted(own), "beneath": sorted(beneath)}

    def stop_keeping(self, file: str) -> None:
        """No longer keep the files with this name that commands made, in whichever folder they are."""
        self._by_command = {
            name: sources for name, sources in self._by_command.items() if PurePosixPath(name).name != file
        }

    def kept(self, fingerprints: Collection[str]) -> dict[str, Mapping[str, Sequence[str]]]:
        """The files that commands made, now or earlier, whose source artefacts are all in the run.

        Args:    fingerprints: of the run's artefacts.
        Returns: By file name, fingerprints under ``own`` and ``beneath``; see `keep`.
        """
        return {
            name: sources
            for name, sources in self._by_command.items()
            if set(sources["beneath"]) <= set(fingerprints) and (self.path / name).is_file()
        }

    def written(self, fingerprints: Collection[str]) -> list[str]:
        """Names of the files written so far and of the kept ones (see `kept`), in order."""
        return sorted({*self._now, *self.kept(fingerprints)})

    def finish(self, fingerprints: Collection[str]) -> None:
        """Remove files that are no longer made, and write the record.

        Args: fingerprints: of the run's artefacts.
        """
        kept = self.kept(fingerprints)
        for name in set(self._before.files) - self._now - set(kept):
            self._mark_unfinished()
            (self.path / name).unlink(missing_ok=True)
            self._remove_empty(PurePosixPath(name).parent)
        record = Record(
            artefacts=tuple(sorted(set(fingerprints))),
            files=tuple(sorted(self._now | set(kept))),
            by_command=kept,
            drawn=self._drawn,
            to_come=replace(self._reach, fingerprints=self._reach.fingerprints - set(fingerprints)),
        )
        if self._is_marked or record != self._before:
            write_record(self.path, record)

    def _remove_empty(self, folder: PurePosixPath) -> None:
        # A store at a URL has no folders.
        while isinstance(self.path, Path) and folder.parts:
            try:
                (self.path / folder).rmdir()
            except OSError:
                return  # The folder is not empty.
            folder = folder.parent


def _digest(path: Location) -> str | None:
    with suppress(FileNotFoundError):
        return file_digest(path)
    return None
