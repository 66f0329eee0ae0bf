"""An artefact that is being made: collects its parts and writes the manifest when all are present."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from atlas_pipeline.engine.atomic_files import remove_temporary_files
from atlas_pipeline.engine.declaration import by_role, plain_config
from atlas_pipeline.engine.force import identity_of
from atlas_pipeline.engine.location import disk_errors, states_in
from atlas_pipeline.engine.manifest import MANIFEST_NAME, Manifest, package_versions, write_manifest
from atlas_pipeline.engine.part import (
    PartRecord,
    adopt_part,
    footer_notes,
    is_part,
    is_trusted,
    part_name,
    provenance,
)
from atlas_pipeline.engine.stage import Job, Notes, Step, Task
from atlas_pipeline.engine.store import Store
from atlas_pipeline.engine.survey import Survey
from atlas_pipeline.errors import CorruptArtefactError


class UnfinishedArtefact:
    """The parts of one step as they arrive. Requires the lock of the step."""

    def __init__(self, step: Step, job: Job, tasks: Sequence[Task], store: Store) -> None:
        self.step, self.job, self._tasks, self._store = step, job, tasks, store
        self.folder = store.folder(step.stage.name, job.fingerprint)
        self._records: dict[int, PartRecord] = {}
        self._notes: dict[int, Notes] = {}

    def adopt(self, manifest: Manifest | None) -> int:
        """Adopt the intact parts of earlier runs and remove all other files; returns the number of parts.

        manifest: an earlier manifest, no longer valid because some of its parts are damaged.
        """
        recorded = {part.name: part for part in manifest.parts} if manifest else {}
        damaged = self._store.damaged(manifest) if manifest else []
        found = states_in(self.folder)
        for index, task in enumerate(self._tasks):
            path = self.folder / part_name(index)
            if path.name in damaged or path.name not in found:
                continue
            if not is_trusted(path, provenance(self.step.stage, self.job, task)):
                continue
            with suppress(CorruptArtefactError):
                record = recorded.get(path.name) or adopt_part(path)
                self.accept(index, record, footer_notes(path))
        kept = {record.name for record in self._records.values()}
        with disk_errors(self.folder):
            # Remove the manifest first: a run killed here must not leave a manifest that lists missing parts.
            (self.folder / MANIFEST_NAME).unlink(missing_ok=True)
            remove_temporary_files(self.folder)
            for name in found:
                if is_part(name) and name not in kept:
                    (self.folder / name).unlink(missing_ok=True)
        return len(kept)

    def accept(self, index: int, record: PartRecord, notes: Notes) -> None:
        self._records[index], self._notes[index] = record, notes

    def lacks(self, index: int) -> bool:
        return index not in self._records

    def summary(self) -> Notes:
        """The stage's summary of the notes so far.

        Raises: AtlasError: the stage stops the run.
        """
        return self.step.stage.summarise(self.job, [self._notes[index] for index in sorted(self._notes)])

    def finish(self, survey: Survey) -> None:
        """Write the manifest.

        Raises: CorruptArtefactError: a part cannot be read back. AtlasError: from the disk, or see summary.
        """
        step, stage, artefacts = self.step, self.step.stage, by_role(self.job.inputs)
        manifest = Manifest(
            stage=stage.name,
            version=stage.version,
            fingerprint=self.job.fingerprint,
            identity=self.job.fingerprint,
            layer=step.layer,
            view=step.view,
            grid=step.grid,
            config=plain_config(step.config),
            inputs={
                role: {
                    "stage": source.stage.name,
                    "fingerprint": artefacts[role].fingerprint,
                    "identity": survey.look(source).identity or "",
                }
                for role, source in step.inputs.items()
            },
            notes=self.summary(),
            parts=tuple(self._records[index] for index in range(len(self._tasks))),
            packages=package_versions(),
            finished=datetime.now(UTC).isoformat(),
        )
        # Remove temporary files of killed workers now: nobody looks for them in a finished artefact.
        with disk_errors(self.folder):
            remove_temporary_files(self.folder)
        write_manifest(self.folder, replace(manifest, identity=identity_of(self._store, stage, manifest)))
        if damaged := self._store.damaged(manifest):
            path = self.folder / damaged[0]
            raise CorruptArtefactError(f"{path} does not read back as it was written; check the disk")
