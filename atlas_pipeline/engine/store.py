"""Where artefacts live: `<workspace>/cache/<stage>/<fingerprint>/`, parts and `manifest.json`.

The workspace is a folder, or a URL of an object store. Of two runs at once the lock lets one make an
artefact. Behind a URL the lock holds for one machine: two of them may both make it, and as objects are whole
and the same whoever writes them, nothing comes of it but the work done twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.engine.atomic_files import atomic_file, file_digest
from atlas_pipeline.engine.location import (
    FileState,
    Location,
    content_of,
    disk_errors,
    location_of,
    remove_folder,
    states_in,
)
from atlas_pipeline.engine.manifest import MANIFEST_NAME, Manifest, read_manifest
from atlas_pipeline.engine.part import PartRecord, is_part, is_trusted, part_name, read_footer
from atlas_pipeline.errors import CorruptArtefactError

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


class Store:
    """The artefacts of a workspace. Makes no folder before the first artefact."""

    def __init__(self, workspace: Location | str) -> None:
        # Absolute: workers may run elsewhere in the tree.
        self.root = location_of(workspace).absolute() / "cache"
        # Beside the folders, for a folder may be moved away under its lock.
        self._locks = self.root / ".locks" if isinstance(self.root, Path) else _locks_here(self.root)
        self._verified: set[tuple[Location, FileState]] = set()

    def folder(self, stage: str, fingerprint: str) -> Location:
        return self.root / stage / fingerprint

    def lock_path(self, stage: str, fingerprint: str) -> Path:
        return self._locks / f"{stage}-{fingerprint}.lock"

    def folders(self, stage: str = "*") -> Iterator[Location]:
        """Every artefact's folder; nothing else that may lie in the workspace."""
        with disk_errors(self.root):
            found: list[Location] = sorted(self.root.glob(f"{stage}/*"), key=str)
            found = [f for f in found if _FINGERPRINT.fullmatch(f.name) and f.is_dir()]
        yield from found

    def manifests(self, stage: str) -> Iterator[Manifest]:
        """The readable manifests of a stage."""
        for folder in self.folders(stage):
            with suppress(CorruptArtefactError):
                if (manifest := read_manifest(folder)) is not None:
                    yield manifest

    def artefact(self, manifest: Manifest) -> StoredArtefact:
        return StoredArtefact(self.folder(manifest.stage, manifest.fingerprint), manifest)

    def damaged(self, manifest: Manifest, *, thorough: bool = False) -> list[str]:
        """Names of the parts that are not what the manifest says: by size always, by digest where the
        modification time is not the recorded one, or of all with `thorough`."""
        folder = self.folder(manifest.stage, manifest.fingerprint)
        states = states_in(folder)
        return [
            part.name
            for part in manifest.parts
            if not self._is_whole(folder / part.name, states.get(part.name), part, thorough)
        ]

    def _is_whole(self, path: Location, state: FileState | None, part: PartRecord, thorough: bool) -> bool:
        if state is None or state.num_bytes != part.bytes:
            return False
        if not thorough and (state.mtime_ns == part.mtime_ns or (path, state) in self._verified):
            return True
        if file_digest(path) != part.digest:
            return False
        # A copied workspace has new times: set them back, so that it is read through once and not every time.
        # Objects keep theirs: there it is once a run.
        if isinstance(path, Path):
            with suppress(OSError):
                os.utime(path, ns=(part.mtime_ns, part.mtime_ns))
        self._verified.add((path, state))
        return True

    def trusted_parts(self, stage: str, fingerprint: str, made: Sequence[Mapping[str, str]]) -> list[int]:
        """Numbers of the parts that an unfinished run left whole. made: the provenance of each task."""
        folder = self.folder(stage, fingerprint)
        there = states_in(folder)
        return [
            index
            for index, recipe in enumerate(made)
            if part_name(index) in there and is_trusted(folder / part_name(index), recipe)
        ]

    def count_parts(self, stage: str, fingerprint: str) -> int:
        """How many parts an unfinished artefact has, its tasks not being known."""
        folder = self.folder(stage, fingerprint)
        return sum(_says(folder / name, stage, fingerprint) for name in states_in(folder) if is_part(name))

    def replaced(self, stage: str, fingerprint: str) -> Mapping[str, Any] | None:
        """What a forced run said of the artefact that it replaced; see force.py."""
        try:
            return json.loads(content_of(self._replaced_path(stage, fingerprint)))
        except FileNotFoundError:
            return None
        except ValueError:
            return {"identity": None, "values": None}

    def write_replaced(self, stage: str, fingerprint: str, what: Mapping[str, Any]) -> None:
        with atomic_file(self._replaced_path(stage, fingerprint)) as file:
            file.write(json.dumps(what).encode())

    def _replaced_path(self, stage: str, fingerprint: str) -> Location:
        return self.root / stage / f"{fingerprint}.replaced.json"

    def remove(self, stage: str, fingerprint: str) -> None:
        """Remove an artefact's folder. By one rename first: no half of it is ever seen. Where there is no
        renaming the manifest goes first: what is left are parts of an unfinished artefact."""
        folder = self.folder(stage, fingerprint)
        if not isinstance(folder, Path):
            with disk_errors(folder):
                (folder / MANIFEST_NAME).unlink(missing_ok=True)
            remove_folder(folder)
            return
        aside = folder.with_name(f".{fingerprint}.{uuid.uuid4().hex}.removed")
        with disk_errors(folder):
            with suppress(FileNotFoundError):
                os.replace(folder, aside)
            for leftover in folder.parent.glob(f".{fingerprint}.*.removed"):
                remove_folder(leftover)

    def half_removed(self) -> list[Path]:
        """What a removal that was killed left aside; no artefact any more."""
        return sorted(self.root.glob("*/.*.removed")) if isinstance(self.root, Path) else []

    def remove_parts(self, manifest: Manifest, names: Sequence[str]) -> None:
        """Take back a manifest and the named parts: the artefact is unfinished again."""
        folder = self.folder(manifest.stage, manifest.fingerprint)
        with disk_errors(folder):
            for name in (MANIFEST_NAME, *names):
                (folder / name).unlink(missing_ok=True)

    def forget(self, stage: str, fingerprint: str) -> None:
        """Remove an artefact and all that stands beside it."""
        self.remove(stage, fingerprint)
        with disk_errors(self.root):
            self._replaced_path(stage, fingerprint).unlink(missing_ok=True)
            self.lock_path(stage, fingerprint).unlink(missing_ok=True)


def _locks_here(root: Location) -> Path:
    """Where this machine keeps its locks of a URL: object stores have none."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    name = hashlib.blake2b(str(root).encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"atlas-locks-{user}" / name


def _says(path: Location, stage: str, fingerprint: str) -> bool:
    try:
        footer = read_footer(path)
    except CorruptArtefactError:
        return False
    return (footer.get("atlas.stage"), footer.get("atlas.fingerprint")) == (stage, fingerprint)
