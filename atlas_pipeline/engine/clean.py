"""Finds and removes artefacts that no config needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from atlas_pipeline.engine.location import Location, disk_errors, remove_folder, states_in
from atlas_pipeline.engine.lock import try_locks
from atlas_pipeline.engine.plan import StepState
from atlas_pipeline.engine.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The artefacts that a run needs. stages: those of needed artefacts with unknown fingerprints."""

    fingerprints: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()

    def __or__(self, other: Reach) -> Reach:
        return Reach(fingerprints=self.fingerprints | other.fingerprints, stages=self.stages | other.stages)


def reach_of(states: Iterable[StepState]) -> Reach:
    """The artefacts that the planned steps need."""
    planned = list(states)
    return Reach(
        fingerprints=frozenset(state.fingerprint for state in planned if state.fingerprint is not None),
        stages=frozenset(state.stage for state in planned if state.fingerprint is None),
    )


def reachable(reach: Reach, store: Store) -> set[str]:
    """Fingerprints of needed artefacts; if one is unknown, all artefacts of its stage count as needed."""
    unknown = (folder.name for stage in reach.stages for folder in store.folders(stage))
    return {*reach.fingerprints, *unknown}


def unreachable(store: Store, reachable_fingerprints: Collection[str]) -> list[tuple[Location, int]]:
    """Folder and size in bytes of every artefact that is not reachable, and of half-finished removals.

    Removes nothing.
    """
    unreached = [folder for folder in store.folders() if folder.name not in reachable_fingerprints]
    return [
        (folder, sum(state.num_bytes for state in states_in(folder).values()))
        for folder in [*unreached, *store.half_removed()]
    ]


def remove(store: Store, folders: Iterable[Location]) -> list[Location]:
    """Remove folders that `unreachable` returned, except those that a run is making now.

    Returns: the removed folders.
    Raises:  ResourceError: read-only or not permitted.
    """
    removed, half_removed = [], set[Location](store.half_removed())
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
