"""Artefacts that a run's folder may keep showing while the run adds to them.

A stage such as `names` covers all grids of a map, so another grid gives its step another fingerprint. Its
earlier artefact is still true of the grids that it was made from (`Stage.may_lag`).

Later steps take from a stage such as `index` its values alone (`Stage.identity`). An index of copied images
has another fingerprint and the same values: nothing that is shown changes with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from atlas_pipeline.engine import Store, canonical_json
from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.engine.declaration import plain_config
from atlas_pipeline.engine.manifest import Manifest, read_manifest
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import CorruptArtefactError


def earlier_artefacts(
    steps: Collection[Step], made: Mapping[Step, StoredArtefact], fingerprints: Collection[str], store: Store
) -> dict[Step, StoredArtefact] | None:
    """The artefacts of these fingerprints, each by the step that makes it anew with further inputs.

    Leaves out an artefact whose step was made anew with the same values.

    Args:    made: artefacts of the steps that are done.
    Returns: None if some artefact is neither: its stage may not lag, it is damaged or gone, or something
             that it was made from is no longer the run's.
    """
    identified = {step.stage.name for step in steps if step.stage.identity}
    identities = {(a.manifest.stage, a.manifest.identity) for a in made.values()}
    lagging = {(s.stage.name, (s.layer, s.view, s.grid)): s for s in steps if s.stage.may_lag}
    stages = sorted(identified.union(stage for stage, _ in lagging))
    found: dict[Step, StoredArtefact] = {}
    for fingerprint in sorted(fingerprints):
        manifest = _manifest(stages, fingerprint, store)
        if manifest is None:
            return None
        if (manifest.stage, manifest.identity) in identities:
            continue
        step = lagging.get((manifest.stage, manifest.labels))
        if step is None or not _is_earlier(manifest, step, made) or store.damaged(manifest):
            return None
        found[step] = store.artefact(manifest)
    return found


def _manifest(stages: Iterable[str], fingerprint: str, store: Store) -> Manifest | None:
    for stage in stages:
        with suppress(CorruptArtefactError):
            if (manifest := read_manifest(store.folder(stage, fingerprint))) is not None:
                return manifest
    return None


def _is_earlier(manifest: Manifest, step: Step, made: Mapping[Step, StoredArtefact]) -> bool:
    """Whether an artefact was made by this version of a step from some of its inputs as they are now."""
    now = {role: made[source].manifest.identity for role, source in step.inputs.items() if source in made}
    return (
        manifest.version == step.stage.version
        and canonical_json(manifest.config) == canonical_json(plain_config(step.config))
        and all(now.get(role) == source["identity"] for role, source in manifest.inputs.items())
    )
