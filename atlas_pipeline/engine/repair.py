"""Removes parts whose damage only shows when they are read, so that they are made again."""

from __future__ import annotations

from collections.abc import Iterator

from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.engine.declaration import by_role
from atlas_pipeline.engine.lock import try_locks
from atlas_pipeline.engine.manifest import read_manifest
from atlas_pipeline.engine.stage import Job
from atlas_pipeline.engine.store import Store
from atlas_pipeline.errors import CorruptArtefactError


def remove_damaged_parts(store: Store, job: Job) -> Iterator[tuple[str, str, list[str]]]:
    """Verify every input of a job and remove the parts that do not match their manifest.

    Yields: stage, fingerprint and names of the damaged parts of each input; without damage the names are
    empty.
    """
    for artefact in by_role(job.inputs).values():
        assert isinstance(artefact, StoredArtefact)
        yield _verify(store, artefact)


def verify(store: Store) -> list[tuple[str, str, list[str]]]:
    """Verify every finished artefact of the workspace and remove the parts that do not match their manifest.

    Returns: stage, fingerprint and names of the damaged parts of each damaged artefact.
    """
    found = [_verify(store, store.artefact(manifest)) for manifest in store.manifests("*")]
    return [one for one in found if one[2]]


def _verify(store: Store, artefact: StoredArtefact) -> tuple[str, str, list[str]]:
    locks = try_locks([store.lock_path(artefact.stage, artefact.fingerprint)])
    names: list[str] = []
    if locks is not None:  # otherwise another run is already repairing it
        with locks:
            names = _remove_damaged(store, artefact)
    return artefact.stage, artefact.fingerprint, names


def _remove_damaged(store: Store, artefact: StoredArtefact) -> list[str]:
    try:
        # Read the manifest again: another run may have repaired the artefact since.
        manifest = read_manifest(artefact.folder)
    except CorruptArtefactError:
        return []
    names = store.damaged(manifest, thorough=True) if manifest else []
    if manifest and names:
        store.remove_parts(manifest, names)
    return names
