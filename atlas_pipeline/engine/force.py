"""Makes an existing artefact again (`--force`) without leaving later artefacts silently stale.

A forced artefact keeps its fingerprint. If its values change (the code changed without a new version), its
*identity* changes, and with it the fingerprints of all later artefacts. The information for this is written
next to the folder before anything is removed. A run that is killed at any time leaves either the complete old
artefact, or parts of the new one and the record of what they replace.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from atlas_pipeline.engine.manifest import Manifest
from atlas_pipeline.engine.stage import Stage
from atlas_pipeline.engine.store import Store
from atlas_pipeline.engine.values import values_digest
from atlas_pipeline.errors import CorruptArtefactError


def retire(
    store: Store, stage: Stage, fingerprint: str, manifest: Manifest | None, damage: Collection[str]
) -> None:
    """Remove an artefact that is to be made again. Requires its lock.

    manifest: None if the artefact is not finished, or if its manifest is damaged.
    Raises: ResourceError: read-only or not permitted.
    """
    # Nothing was made from an artefact that was never finished, so it needs no record.
    if not stage.identity and (manifest is not None or damage):
        replaced = store.replaced(stage.name, fingerprint) or {"identity": None, "values": None}
        if manifest is not None:
            with suppress(CorruptArtefactError):
                values = values_digest(store.artefact(manifest).parts())
                replaced = {"identity": manifest.identity, "values": values}
        store.write_replaced(stage.name, fingerprint, replaced)
    store.remove(stage.name, fingerprint)


def known_identity(store: Store, stage: Stage, fingerprint: str) -> str | None:
    """Identity of an unfinished artefact, if it is known before the artefact is finished; else None."""
    if stage.identity or store.replaced(stage.name, fingerprint) is not None:
        return None
    return fingerprint


def identity_of(store: Store, stage: Stage, manifest: Manifest) -> str:
    """Identity of an artefact whose parts are all present. manifest: the one about to be written.

    Raises: CorruptArtefactError: a part cannot be read back.
    """
    artefact = store.artefact(manifest)
    if stage.identity:
        return values_digest(artefact.parts(stage.identity))
    replaced = store.replaced(stage.name, manifest.fingerprint)
    if replaced is None:
        return manifest.fingerprint
    values = values_digest(artefact.parts())
    if values == replaced["values"]:
        return replaced["identity"]
    return f"{manifest.fingerprint}~{values[:8]}"
