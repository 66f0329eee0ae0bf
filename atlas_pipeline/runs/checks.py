"""The checks that a run begins with: which of them it needs, and what follows from what they found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atlas_pipeline.engine import Step, Store, artefacts_of, ordered
from atlas_pipeline.engine.declaration import plain_config
from atlas_pipeline.errors import ModelError
from atlas_pipeline.stages.atlas.invert import INVERT
from atlas_pipeline.stages.sampling import check
from atlas_pipeline.stages.sampling.check import CHECK, rows_of
from atlas_pipeline.stages.sampling.sample import SAMPLE


def with_checks(steps: Iterable[Step]) -> list[Step]:
    """The steps, and before the first sample a check of every network and layer that is sampled.

    No other step takes a check as its input: what is sampled does not depend on what is found.
    """
    everything = ordered(steps)
    samples = [step for step in everything if step.stage.name == SAMPLE.name]
    if not samples:
        return everything
    checks = [check.step(sample, _icons_of(sample, everything)) for sample in samples]
    first = everything.index(samples[0])
    return ordered([*everything[:first], *checks, *everything[first:]])


def _icons_of(sample: Step, steps: Sequence[Step]) -> Mapping[str, Any] | None:
    """The icons' settings that the network notices; None where no icons are made of this layer."""
    for step in steps:
        if step.stage.name == INVERT.name and _checked_thing(step) == _checked_thing(sample):
            return {name: step.config.invert[name] for name in ("size_px", "arithmetic")}
    return None


def _checked_thing(step: Step) -> tuple[Any, str | None]:
    """The identity of the network, and the layer, that a step is of."""
    return plain_config(step.config).get("model"), step.layer


def checks_for(left: Iterable[Step], steps: Sequence[Step]) -> list[Step]:
    """The checks of the networks and layers that the steps ``left`` to make are of."""
    things = [_checked_thing(step) for step in left if step.stage.is_checked]
    # Of ``steps``, for what is left are copies: of two of a kind each would be a check of its own.
    return [step for step in steps if step.stage.name == CHECK.name and _checked_thing(step) in things]


def made_elsewhere(checks: Sequence[Step], store: Store, device: str) -> bool:
    """Whether one of the checks was made on another kind of device than this run's."""
    kind = device.partition(":")[0]
    return any(made.notes["device"] != kind for made in artefacts_of(checks, store).values())


def refuse_failed(checks: Sequence[Step], store: Store, *, cached: bool) -> None:
    """Raises: ModelError: a check that is done found what makes an atlas impossible, or wrong."""
    failed = [row for row in rows_of(artefacts_of(checks, store).values()) if row["verdict"] == "fails"]
    if not failed:
        return
    # Logits last: that they are not numbers follows from a layer.
    first, *others = sorted(failed, key=lambda row: row["check"] == "logits")
    where = f"layer '{first['layer']}'" if first["layer"] else "the network"
    more = f" (and {len(others)} more)" if others else ""
    again = ", --force after a change that the config does not show" if cached else ""
    raise ModelError(
        f"{where} fails its check, {first['check']}: {first['said']}{more}. "
        f"The whole table: atlas check CONFIG{again}"
    )


def summary(checks: Sequence[Step], store: Store) -> str:
    """One line on checks of which none failed."""
    made = artefacts_of(checks, store)
    num_images = max((artefact.notes["num_images"] for artefact in made.values()), default=0)
    num_notes = sum(row["verdict"] == "note" for row in rows_of(made.values()))
    layers = f"{len(made)} layer{'s' if len(made) != 1 else ''}"
    notes = (
        f"{num_notes} note{'s' if num_notes != 1 else ''}: atlas check CONFIG" if num_notes else "all well"
    )
    return f"the network and {layers} checked on {num_images} images: {notes}"
