"""Storage of artefacts: `<workspace>/cache/<stage>/<fingerprint>/` holds the parts and `manifest.json`.

The workspace is a folder or a URL of an object store. A lock ensures that only one of several runs makes an
artefact. For a URL the lock covers only one machine, so two machines may both make an artefact. Objects are
complete and identical whoever writes them, so this only costs time.
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
    """The artefacts of a workspace. No folder is created before the first artefact."""

    def __init__(self, workspace: Location | str) -> None:
        # Absolute: workers may run in another working directory.
        self.root = location_of(workspace).absolute() / "cache"
        # Outside the artefact folders, because a folder may be moved away while its lock is held.
        self._locks = self.root / ".locks" if isinstance(self.root, Path) else _local_lock_folder(self.root)
        self._verified: set[tuple[Location, FileState]] = set()

    def folder(self, stage: str, fingerprint: str) -> Location:
        return self.root / stage / fingerprint

    def lock_path(self, stage: str, fingerprint: str) -> Path:
        return self._locks / f"{stage}-{fingerprint}.lock"

    def folders(self, stage: str = "*") -> Iterator[Location]:
        """Folders of all artefacts; other content of the workspace is skipped."""
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
        """Names of the parts that do not match the manifest.

        Sizes are always compared. Digests are compared if the modification time differs from the recorded
        one, or always with `thorough`.
        """
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
        # A copied workspace has new times: restore the recorded ones, so that the files are digested only
        # once. Objects keep their times and are digested once per run.
        if isinstance(path, Path):
            with suppress(OSError):
                os.utime(path, ns=(part.mtime_ns, part.mtime_ns))
        self._verified.add((path, state))
        return True

    def trusted_parts(self, stage: str, fingerprint: str, made: Sequence[Mapping[str, str]]) -> list[int]:
        """Numbers of the intact parts of an unfinished run. made: the provenance of each task."""
        folder = self.folder(stage, fingerprint)
        there = states_in(folder)
        return [
            index
            for index, expected in enumerate(made)
            if part_name(index) in there and is_trusted(folder / part_name(index), expected)
        ]

    def count_parts(self, stage: str, fingerprint: str) -> int:
        """Number of parts of an unfinished artefact whose tasks are not known."""
        folder = self.folder(stage, fingerprint)
        return sum(
            _belongs_to(folder / name, stage, fingerprint) for name in states_in(folder) if is_part(name)
        )

    def replaced(self, stage: str, fingerprint: str) -> Mapping[str, Any] | None:
        """The record of the artefact that a forced run replaced; see force.py."""
        try:
            return json.loads(content_of(self._replaced_path(stage, fingerprint)))
        except FileNotFoundError:
            return None
        except ValueError:
            return {"identity": None, "values": None}

    def write_replaced(self, stage: str, fingerprint: str, record: Mapping[str, Any]) -> None:
        with atomic_file(self._replaced_path(stage, fingerprint)) as file:
            file.write(json.dumps(record).encode())

    def _replaced_path(self, stage: str, fingerprint: str) -> Location:
        return self.root / stage / f"{fingerprint}.replaced.json"

    def remove(self, stage: str, fingerprint: str) -> None:
        """Remove an artefact's folder.

        On disk it is renamed first, so that no partial artefact is ever visible. Object stores cannot rename:
        the manifest is removed first, and the remaining parts are those of an unfinished artefact.
        """
        folder = self.folder(stage, fingerprint)
        if not isinstance(folder, Path):
            with disk_errors(folder):
                (folder / MANIFEST_NAME).unlink(missing_ok=True)
            remove_folder(folder)
            return
        removed = folder.with_name(f".{fingerprint}.{uuid.uuid4().hex}.removed")
        with disk_errors(folder):
            with suppress(FileNotFoundError):
                os.replace(folder, removed)
            for leftover in folder.parent.glob(f".{fingerprint}.*.removed"):
                remove_folder(leftover)

    def half_removed(self) -> list[Path]:
        """Leftovers of removals that were killed; they are no longer artefacts."""
        return sorted(self.root.glob("*/.*.removed")) if isinstance(self.root, Path) else []

    def remove_parts(self, manifest: Manifest, names: Sequence[str]) -> None:
        """Remove the manifest and the named parts; the artefact is then unfinished."""
        folder = self.folder(manifest.stage, manifest.fingerprint)
        with disk_errors(folder):
            for name in (MANIFEST_NAME, *names):
                (folder / name).unlink(missing_ok=True)

    def forget(self, stage: str, fingerprint: str) -> None:
        """Remove an artefact and the files next to its folder."""
        self.remove(stage, fingerprint)
        with disk_errors(self.root):
            self._replaced_path(stage, fingerprint).unlink(missing_ok=True)
            self.lock_path(stage, fingerprint).unlink(missing_ok=True)


def _local_lock_folder(root: Location) -> Path:
    """Folder of this machine's locks for a URL, because object stores have no locks."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    name = hashlib.blake2b(str(root).encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"atlas-locks-{user}" / name


def _belongs_to(path: Location, stage: str, fingerprint: str) -> bool:
    try:
        footer = read_footer(path)
    except CorruptArtefactError:
        return False
    return (footer.get("atlas.stage"), footer.get("atlas.fingerprint")) == (stage, fingerprint)
