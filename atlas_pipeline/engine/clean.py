"""Artefacts that no config reaches any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from atlas_pipeline.engine.location import Location, disk_errors, remove_folder, states_in
from atlas_pipeline.engine.lock import try_locks
from atlas_pipeline.engine.plan import StepState
from atlas_pipeline.engine.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a run needs. stages: of artefacts whose fingerprint is not known yet."""

    fingerprints: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()

    def __or__(self, other: Reach) -> Reach:
        return Reach(fingerprints=self.fingerprints | other.fingerprints, stages=self.stages | other.stages)


def reach_of(states: Iterable[StepState]) -> Reach:
    """What the planned steps need."""
    planned = list(states)
    return Reach(
        fingerprints=frozenset(state.fingerprint for state in planned if state.fingerprint is not None),
        stages=frozenset(state.stage for state in planned if state.fingerprint is None),
    )


def reachable(reach: Reach, store: Store) -> set[str]:
    """Fingerprints of what is needed. Where one is not known yet, all of its stage's."""
    unknown = (folder.name for stage in reach.stages for folder in store.folders(stage))
    return {*reach.fingerprints, *unknown}


def unreachable(store: Store, reachable_fingerprints: Collection[str]) -> list[tuple[Location, int]]:
    """Folder and size in bytes of every artefact that is not among them, and of what a killed removal left.

    Removes nothing.
    """
    unreached = [folder for folder in store.folders() if folder.name not in reachable_fingerprints]
    return [
        (folder, sum(state.num_bytes for state in states_in(folder).values()))
        for folder in [*unreached, *store.half_removed()]
    ]


def remove(store: Store, folders: Iterable[Location]) -> list[Location]:
    """Remove what `unreachable` gave, but for what a run is making just now. Returns the removed ones.

    Raises: ResourceError: read-only or not permitted.
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
