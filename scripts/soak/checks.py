"""Checks after every fault, and the comparison of finished runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from atlas_pipeline.engine.atomic_files import file_digest
from atlas_pipeline.engine.manifest import MANIFEST_NAME, read_manifest
from atlas_pipeline.engine.part import adopt_part
from atlas_pipeline.errors import CorruptArtefactError

# Manifest keys that differ between two equal artefacts.
TIMES = ("finished", "seconds", "mtime_ns", "digest")


def parts(workspace: Path) -> set[Path]:
    return set((workspace / "cache").glob("*/*/part-*.parquet"))


def not_whole(workspace: Path, spoiled: Collection[Path]) -> list[str]:
    """Describe files under their final names that are unreadable or contradict their manifest.

    spoiled: files that we damaged ourselves; they are skipped.
    """
    found, listed = [], set()
    for folder in (workspace / "cache").glob("*/*"):
        path = folder / MANIFEST_NAME
        if path in spoiled or not path.is_file():
            continue
        try:
            manifest = read_manifest(folder)
        except CorruptArtefactError as error:
            found.append(f"half-written: {error}")
            continue
        for part in manifest.parts if manifest else ():
            listed.add(folder / part.name)
            if folder / part.name in spoiled:
                continue
            if not (folder / part.name).is_file():
                found.append(f"lost: {folder / part.name} is in its manifest but does not exist")
            elif file_digest(folder / part.name) != part.digest:
                found.append(f"half-written: {folder / part.name} differs from the digest in its manifest")
    for part in parts(workspace) - listed - set(spoiled):
        try:
            adopt_part(part)
        except CorruptArtefactError as error:
            found.append(f"half-written: {error}")
    return found


def leftovers(workspace: Path) -> list[str]:
    """Describe temporary files that were neither renamed into place nor removed."""
    return [f"left behind: {path}" for pattern in ("*.tmp", "*.removed") for path in workspace.rglob(pattern)]


def held_locks(workspace: Path) -> list[str]:
    held = []
    for path in (workspace / "cache" / ".locks").glob("*.lock"):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            held.append(f"still locked: {path}")
    return held


def content(workspace: Path) -> dict[str, str]:
    """Digest of every part, of every manifest without its times, and of every published file."""
    found = {str(path.relative_to(workspace)): file_digest(path) for path in parts(workspace)}
    for path in (workspace / "cache").glob(f"*/*/{MANIFEST_NAME}"):
        found[str(path.relative_to(workspace))] = _manifest_digest(path.read_bytes())
    for path in (workspace / "runs").rglob("*"):
        if path.is_file():
            found[str(path.relative_to(workspace))] = _published_digest(path)
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    names = sorted(expected.keys() | found.keys())
    return [f"not equal: {name}" for name in names if expected.get(name) != found.get(name)]


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        # Keep the digest of a part: it depends on its bytes alone.
        timeless = {k: v for k, v in value.items() if k not in TIMES or (k == "digest" and "rows" in value)}
        return {key: _without_times(inner) for key, inner in timeless.items()}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def _published_digest(path: Path) -> str:
    """Digest of a published file; for the config, without `run`, which differs between runs."""
    if path.name != "config.yaml":
        return file_digest(path)
    config = {key: value for key, value in yaml.safe_load(path.read_bytes()).items() if key != "run"}
    return _digest(config)


def _manifest_digest(written: bytes) -> str:
    try:
        return _digest(_without_times(json.loads(written)))
    except ValueError:
        return "not JSON"


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
