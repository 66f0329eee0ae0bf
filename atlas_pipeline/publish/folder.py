"""The folder of a run on disk: which files are ours, and which of them stay.

A file is written only where it is missing or differs; one that an earlier publication left and this one does
not make is removed; the user's own stay.
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
from atlas_pipeline.publish.record import Record, read_record, write_record

# What `atlas figure` draws: none of a publication's business.
FIGURES_FOLDER = "figures"
_COPIED_BYTES = 1 << 20


def run_folder(config: Config) -> Location:
    """`<workspace>/runs/<name>`."""
    return location_of(config.run.workspace) / "runs" / config.name


@contextmanager
def held(store: Store, name: str) -> Iterator[bool]:
    """Hold the folder of a run: of the processes that bring it up to date, draw or pack it one is at it.

    Yields: whether it is held. Where there can be no lock nothing can be written either, and perhaps nothing
            need be.
    """
    with ExitStack() as stack:
        is_held = False
        with suppress(ResourceError):
            stack.enter_context(waiting_lock(store.lock_path("runs", name)))
            is_held = True
        yield is_held


def note_reach(config: Config, reach: Reach, store: Store) -> None:
    """Say what a run will need, before it makes any of it: nothing else keeps that from `atlas clean`.

    Raises: ResourceError: it cannot be written.
    """
    folder = run_folder(config)
    with held(store, config.name):
        record = _last_record(folder)
        if record.to_come != reach:
            write_record(folder, replace(record, to_come=reach))


def _last_record(folder: Location) -> Record:
    """What an earlier publication wrote. Of one that cannot be read nothing is taken for true."""
    try:
        return read_record(folder) or Record()
    except ConfigError:
        return Record(unfinished=True)


def sweep_run(folder: Location) -> None:
    """Remove what a killed publication left half written. Only while the folder is held."""
    # Object stores show whole objects only.
    if isinstance(folder, Path):
        for leftover in folder.rglob(".*.tmp"):
            if leftover.relative_to(folder).parts[0] != FIGURES_FOLDER:
                leftover.unlink(missing_ok=True)


def _compared(path: Location, pieces: Iterator[bytes]) -> tuple[int, bytes | None]:
    """How many bytes a file begins with as it should, whole pieces of them, and the first piece that differs;
    None where the file is as it should be."""
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
    """A file's bytes; behind a URL they are fetched at once."""
    return open(path, "rb") if isinstance(path, Path) else io.BytesIO(content_of(path))


class RunFolder:
    """A run's folder, and which of its files this publication made.

    From the first change to `finish` its record says that it is unfinished.
    """

    def __init__(self, path: Location, reach: Reach) -> None:
        """reach: what the run needs, done or not."""
        self.path = path
        self._before, self._reach, self._is_marked = _last_record(path), reach, False
        self._now = set[str]()
        self._by_command = dict(self._before.by_command)
        self._drawn = dict[str, Mapping[str, str]]()

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
        self._mark_unfinished()
        with atomic_file(path) as file:
            for piece in chain(_first_bytes(path, same_bytes), [other], rest):
                file.write(piece)

    def write_drawn(self, name: str, sources: str, draw: Callable[[], bytes]) -> None:
        """Write a file that takes long to draw, if it is not there as drawn from the same sources."""
        self._now.add(name)
        drawn = self._before.drawn.get(name)
        if drawn is None or drawn["sources"] != sources or drawn["digest"] != _digest(self.path / name):
            self.write(name, draw())
            drawn = {"sources": sources, "digest": file_digest(self.path / name)}
        self._drawn[name] = drawn

    def _mark_unfinished(self) -> None:
        if not self._is_marked:
            self._is_marked = True
            # What a command has made beside the config is not in the record yet, but was noted.
            to_come = self._reach | self._before.to_come
            write_record(self.path, replace(self._before, to_come=to_come, unfinished=True))

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
        # Behind a URL there are no folders.
        while isinstance(self.path, Path) and folder.parts:
            try:
                (self.path / folder).rmdir()
            except OSError:
                return  # not empty: something else is in it
            folder = folder.parent


def _digest(path: Location) -> str | None:
    with suppress(FileNotFoundError):
        return file_digest(path)
    return None
