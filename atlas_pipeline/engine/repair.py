"""Damage that only shows on reading: the damaged parts are taken back, so that they are made again."""

from __future__ import annotations

from collections.abc import Iterator

from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.engine.declaration import by_role
from atlas_pipeline.engine.lock import try_locks
from atlas_pipeline.engine.manifest import read_manifest
from atlas_pipeline.engine.stage import Job
from atlas_pipeline.engine.store import Store
from atlas_pipeline.errors import CorruptArtefactError


def take_back_damaged(store: Store, job: Job) -> Iterator[tuple[str, str, list[str]]]:
    """Read every input of a job through and take back what is not as its manifest says.

    Yields: stage, fingerprint and names of the damaged parts of each input that is not done any more.
    """
    for artefact in by_role(job.inputs).values():
        assert isinstance(artefact, StoredArtefact)
        yield _look_through(store, artefact)


def verify(store: Store) -> list[tuple[str, str, list[str]]]:
    """Read every finished artefact of the workspace through and take back what is not as its manifest says.

    Returns: stage, fingerprint and names of the damaged parts of each artefact that is not done any more.
    """
    found = [_look_through(store, store.artefact(manifest)) for manifest in store.manifests("*")]
    return [one for one in found if one[2]]


def _look_through(store: Store, artefact: StoredArtefact) -> tuple[str, str, list[str]]:
    locks = try_locks([store.lock_path(artefact.stage, artefact.fingerprint)])
    names: list[str] = []
    if locks is not None:  # else another run has found it too and is at it
        with locks:
            names = _take_back(store, artefact)
    return artefact.stage, artefact.fingerprint, names


def _take_back(store: Store, artefact: StoredArtefact) -> list[str]:
    try:
        # Not the manifest in memory: another run may have mended it since.
        manifest = read_manifest(artefact.folder)
    except CorruptArtefactError:
        return []
    names = store.damaged(manifest, thorough=True) if manifest else []
    if manifest and names:
        store.remove_parts(manifest, names)
    return names
