"""Remarks that a reader needs to interpret a run's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step, Store, artefacts_of
from atlas_pipeline.models.network_name import has_random_weights, weights_note


def remarks(config: Config, steps: Sequence[Step], store: Store) -> list[str]:
    """The remarks, one line each: on random weights, then those of each stage."""
    model = model_config(config)
    lines = []
    if has_random_weights(model):
        lines.append(f"{weights_note(model)}: nobody trained this network; every picture says so")
    # Artefacts of several layers may have equal remarks.
    return list(dict.fromkeys([*lines, *_stage_remarks(steps, store)]))


def image_remarks(steps: Sequence[Step], store: Store) -> list[str]:
    """The remarks on the listing of the images alone; none before the listing is made."""
    return list(_stage_remarks([step for step in steps if not step.inputs], store))


def _stage_remarks(steps: Sequence[Step], store: Store) -> Iterator[str]:
    for step, artefact in artefacts_of(steps, store).items():
        if step.stage.remarks is not None:
            yield from step.stage.remarks(step, artefact)
