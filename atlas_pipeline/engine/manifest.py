"""The manifest of an artefact: it is written last, lists the parts and records how they were made."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from atlas_pipeline.engine.atomic_files import atomic_file, sync_folder
from atlas_pipeline.engine.location import Location, content_of
from atlas_pipeline.engine.part import PACKAGE, PartRecord
from atlas_pipeline.errors import CorruptArtefactError

MANIFEST_NAME = "manifest.json"
MANIFEST_SCHEMA = "atlas-artefact/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """How an artefact was made, and its parts.

    inputs: by role, {stage, fingerprint, identity} of each input. identity: enters the fingerprints of later
    steps. finished: UTC, ISO 8601. The JSON file also has num_rows and seconds, the compute time of the
    parts.
    """

    stage: str
    version: int
    fingerprint: str
    identity: str
    layer: str | None
    view: str | None
    grid: int | None
    config: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]
    notes: Mapping[str, Any]
    parts: tuple[PartRecord, ...]
    packages: Mapping[str, str]
    finished: str

    @property
    def num_rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def labels(self) -> tuple[str | None, str | None, int | None]:
        return self.layer, self.view, self.grid


def write_manifest(folder: Location, manifest: Manifest) -> None:
    """Write `manifest.json` atomically.

    Raises: ResourceError: disk full, read-only or not permitted.
    """
    body = {
        "schema": MANIFEST_SCHEMA,
        **asdict(manifest),
        "num_rows": manifest.num_rows,
        "seconds": sum(part.seconds or 0.0 for part in manifest.parts),
    }
    body["digest"] = _digest(body)
    with atomic_file(folder / MANIFEST_NAME) as file:
        sync_folder(folder)
        file.write(json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False).encode())


def read_manifest(folder: Location) -> Manifest | None:
    """Read the manifest in an artefact's folder; None if there is none.

    Raises: CorruptArtefactError: it is truncated, altered, or belongs to another artefact. ResourceError: the
        store cannot be reached.
    """
    path = folder / MANIFEST_NAME
    try:
        body = json.loads(content_of(path))
        if body.pop("digest") != _digest(body) or body["schema"] != MANIFEST_SCHEMA:
            raise ValueError("its digest does not match")
        if (body["stage"], body["fingerprint"]) != (folder.parent.name, folder.name):
            raise ValueError(f"it belongs to {body['stage']} {body['fingerprint']}")
        own = {field.name: body[field.name] for field in fields(Manifest)}
        return Manifest(**{**own, "parts": tuple(PartRecord(**part) for part in body["parts"])})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtefactError(f"{path} is damaged ({error})") from error


@cache
def package_versions() -> Mapping[str, str]:
    """Installed versions of Python, this package and its requirements; imports none of them."""
    found = {"python": platform.python_version()}
    try:
        required = requires(PACKAGE) or []
    except PackageNotFoundError:
        required = []
    for name in [PACKAGE, *(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in required)]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
