"""What a reader of a run's results must know beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlas_pipeline.config.network import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step, Store, artefacts_of
from atlas_pipeline.models.network_name import has_random_weights, weights_note


def remarks(config: Config, steps: Sequence[Step], store: Store) -> list[str]:
    """A line for each thing that a reader must know: of the weights, then what each stage says of its own."""
    model = model_config(config)
    lines = []
    if has_random_weights(model):
        lines.append(f"{weights_note(model)}: nobody trained this network; every picture says so")
    # Artefacts of several layers may say the same.
    return list(dict.fromkeys([*lines, *_of_stages(steps, store)]))


def image_remarks(steps: Sequence[Step], store: Store) -> list[str]:
    """The same of the listing of the images alone; none before it is made."""
    return list(_of_stages([step for step in steps if not step.inputs], store))


def _of_stages(steps: Sequence[Step], store: Store) -> Iterator[str]:
    for step, artefact in artefacts_of(steps, store).items():
        if step.stage.remarks is not None:
            yield from step.stage.remarks(step, artefact)
