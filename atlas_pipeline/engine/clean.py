"""Artefacts that no config reaches any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from atlas_pipeline.engine.lock import try_locks
from atlas_pipeline.engine.place import Place, disk_errors, remove_folder, states_in
from atlas_pipeline.engine.plan import StepState
from atlas_pipeline.engine.store import Store


def reachable(states: Iterable[StepState], store: Store) -> set[str]:
    """Fingerprints of what the planned steps need. Where a step's is not known yet, all of its stage's."""
    found: set[str] = set()
    for state in states:
        if state.fingerprint is not None:
            found.add(state.fingerprint)
        else:
            found.update(folder.name for folder in store.folders(state.stage))
    return found


def unreachable(store: Store, reachable_fingerprints: Collection[str]) -> list[tuple[Place, int]]:
    """Folder and size in bytes of every artefact that is not among them, and of what a killed removal left.

    Removes nothing.
    """
    unreached = [folder for folder in store.folders() if folder.name not in reachable_fingerprints]
    return [
        (folder, sum(state.num_bytes for state in states_in(folder).values()))
        for folder in [*unreached, *store.half_removed()]
    ]


def remove(store: Store, folders: Iterable[Place]) -> list[Place]:
    """Remove what `unreachable` gave, but for what a run is making just now. Returns the removed ones.

    Raises: ResourceError: read-only or not permitted.
    """
    removed, half_removed = [], set[Place](store.half_removed())
    for folder in folders:
        if folder in half_removed:
            with disk_errors(folder):
                remove_folder(folder)
            removed.append(folder)
            continue
        stage, fingerprint = folder.parent.name, folder.name
        locks = try_locks([store.lock_path(stage, fingerprint)])
        if locks is not None:
            with locks:
                store.forget(stage, fingerprint)
            removed.append(folder)
    return removed
