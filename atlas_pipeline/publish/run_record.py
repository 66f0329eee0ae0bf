"""The record of a run's folder: the artefacts it was made from, the files we wrote, and artefacts to come.

The record is written before a run makes anything, when a publication starts to change the folder, and when
the publication is finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlas_pipeline.engine import Reach
from atlas_pipeline.engine.atomic_files import atomic_file
from atlas_pipeline.engine.location import Location, content_of, disk_errors
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.reader import CONFIG_FILE

PUBLISHED = ".published.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The state of a run's folder.

    Attributes:
        artefacts: fingerprints of the artefacts that the folder was made from.
        files: names of the files that the program wrote in it.
        by_command: by name, files that a command made in addition to the config's: fingerprints of artefacts
            made for that file only (``own``), and of the run's artefacts it was made from (``beneath``).
        drawn: by name, files drawn from other files: a digest of their ``sources``, and the ``digest`` of
            their bytes.
        to_come: further artefacts that the run needs.
        unfinished: a publication was changing the folder, which may hold files of two versions of the run.
    """

    artefacts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    by_command: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    drawn: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    to_come: Reach = field(default_factory=Reach)
    unfinished: bool = False

    @property
    def made_from(self) -> set[str]:
        """Fingerprints of all artefacts that the folder was made from, including those that commands used."""
        kept = (fingerprint for kept in self.by_command.values() for fingerprint in kept["own"])
        return {*self.artefacts, *kept}

    @property
    def artefacts_of_run(self) -> set[str]:
        """Fingerprints of the run's own artefacts that the folder was made from."""
        beneath = (fingerprint for kept in self.by_command.values() for fingerprint in kept["beneath"])
        return {*self.artefacts, *beneath}

    def as_json(self) -> dict[str, Any]:
        """The JSON form of the record; entries that do not apply are left out."""
        to_come = {"fingerprints": sorted(self.to_come.fingerprints), "stages": sorted(self.to_come.stages)}
        return {
            "artefacts": list(self.artefacts),
            "files": list(self.files),
            "by_command": dict(self.by_command),
            **({"drawn": dict(self.drawn)} if self.drawn else {}),
            **({"to_come": to_come} if any(to_come.values()) else {}),
            **({"unfinished": True} if self.unfinished else {}),
        }


def read_record(folder: Location) -> Record | None:
    """The record of a run's folder; None if there is none.

    Raises: ConfigError: it cannot be read. ResourceError: the store does not answer, or permits no reading.
    """
    path = folder / PUBLISHED
    try:
        return _record(json.loads(content_of(path)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = f"make it anew with atlas run, or remove {folder}"
        raise ConfigError(f"run '{folder.name}': {path} cannot be read ({why}); {remedy}") from error


def write_record(folder: Location, record: Record) -> None:
    """Write the record of a run's folder.

    Raises: ResourceError: disk full, read-only, not permitted, or the store cannot be reached.
    """
    with atomic_file(folder / PUBLISHED) as file:
        file.write(json.dumps(record.as_json(), indent=1).encode())


def recorded_reach(folder: Location) -> Reach:
    """The artefacts that a run's folder was made from, and further ones that its run needs.

    Raises: ConfigError: the record is missing or cannot be read. ResourceError: the store does not answer, or
            permits no reading.
    """
    record = read_record(folder)
    if record is not None:
        return Reach(
            fingerprints=record.to_come.fingerprints | record.made_from, stages=record.to_come.stages
        )
    with disk_errors(folder):
        is_run = (folder / CONFIG_FILE).is_file()
    if is_run:
        raise ConfigError(
            f"run '{folder.name}' does not say what it was made from ({folder / PUBLISHED} is missing); make "
            f"it anew with atlas run, or move {folder} elsewhere"
        )
    return Reach()


def _record(body: Mapping[str, Any]) -> Record:
    """The record that a JSON object holds.

    Raises: ValueError, TypeError, KeyError, AttributeError: the object is not a record.
    """
    to_come = body.get("to_come", {})
    return Record(
        artefacts=_names(body["artefacts"]),
        files=_names(body["files"]),
        by_command={
            name: {"own": list(_names(of["own"])), "beneath": list(_names(of["beneath"]))}
            for name, of in body.get("by_command", {}).items()
        },
        drawn={
            name: {"sources": str(of["sources"]), "digest": str(of["digest"])}
            for name, of in body.get("drawn", {}).items()
        },
        to_come=Reach(
            fingerprints=frozenset(_names(to_come.get("fingerprints", []))),
            stages=frozenset(_names(to_come.get("stages", []))),
        ),
        unfinished=bool(body.get("unfinished")),
    )


def _names(listed: Any) -> tuple[str, ...]:
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise TypeError(f"{listed!r:.40} is not a list of names")
    return tuple(listed)
