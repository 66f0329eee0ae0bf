"""Look up each step in the store, and remember the findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atlas_pipeline.engine.declaration import bind
from atlas_pipeline.engine.fingerprint import fingerprint
from atlas_pipeline.engine.force import known_identity
from atlas_pipeline.engine.manifest import MANIFEST_NAME, Manifest, read_manifest
from atlas_pipeline.engine.stage import Job, Step
from atlas_pipeline.engine.store import Store
from atlas_pipeline.errors import CorruptArtefactError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The state of one step in the store.

    fingerprint, identity: None while they depend on an input that is not done. manifest: None if it is
    missing or unreadable. damage: names of damaged files. forced: whether the step must be made anew.
    """

    fingerprint: str | None
    identity: str | None
    manifest: Manifest | None
    damage: tuple[str, ...]
    forced: bool

    @property
    def is_done(self) -> bool:
        return self.manifest is not None and not self.damage and not self.forced


def never_forced(step: Step, fingerprint: str) -> bool:
    return False


class Survey:
    """Findings on steps, kept until they are forgotten. forced: whether a step must still be made anew."""

    def __init__(self, store: Store, forced: Callable[[Step, str], bool] = never_forced) -> None:
        self._store = store
        self._forced = forced
        self._findings: dict[Step, Finding] = {}

    def look(self, step: Step) -> Finding:
        if step not in self._findings:
            inputs = {role: self.look(source).identity for role, source in step.inputs.items()}
            known = {role: identity for role, identity in inputs.items() if identity is not None}
            finding = _NOTHING_KNOWN if len(known) < len(inputs) else self._find(step, known)
            self._findings[step] = finding
        return self._findings[step]

    def job(self, step: Step) -> Job | None:
        """The job of a step, as passed to its stage; None while an input is not done."""
        found = self.look(step)
        if found.fingerprint is None or not all(self.look(source).is_done for source in step.inputs.values()):
            return None
        inputs = {
            role: self._store.artefact(manifest)
            for role, source in step.inputs.items()
            if (manifest := self.look(source).manifest) is not None
        }
        return Job(
            config=step.config,
            settings=step.settings,
            inputs=bind(step.stage.inputs, inputs),
            layer=step.layer,
            view=step.view,
            grid=step.grid,
            fingerprint=found.fingerprint,
        )

    def forget(self, stage: str, fingerprint: str) -> None:
        """Forget the findings on the steps that make this artefact, and on all steps that depend on them."""
        stale: set[Step] = set()
        # Findings are in the order of looking: inputs come before the steps that use them.
        for step, found in list(self._findings.items()):
            makes_it = (step.stage.name, found.fingerprint) == (stage, fingerprint)
            if makes_it or any(source in stale for source in step.inputs.values()):
                stale.add(step)
                del self._findings[step]

    def _find(self, step: Step, inputs: dict[str, str]) -> Finding:
        stage = step.stage
        own = fingerprint(stage, step.config, inputs)
        forced = self._forced(step, own)
        manifest: Manifest | None = None
        damage: tuple[str, ...] = ()
        try:
            manifest = read_manifest(self._store.folder(stage.name, own))
            if manifest is not None:
                damage = tuple(self._store.damaged(manifest))
        except CorruptArtefactError:
            damage = (MANIFEST_NAME,)
        if forced:
            # The values may change, so later fingerprints are unknown until the step is done.
            identity = None
        elif manifest is not None:
            identity = manifest.identity
        else:
            identity = known_identity(self._store, stage, own)
        return Finding(fingerprint=own, identity=identity, manifest=manifest, damage=damage, forced=forced)


_NOTHING_KNOWN = Finding(fingerprint=None, identity=None, manifest=None, damage=(), forced=False)
