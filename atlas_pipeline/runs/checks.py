"""The network checks at the start of a run: which ones are needed, and how the run acts on their findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atlas_pipeline.config.run_settings import about_judge, judge_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step, Store, artefacts_of, ordered
from atlas_pipeline.engine.declaration import plain_config
from atlas_pipeline.errors import ModelError, counted
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.stages.atlas.invert import INVERT
from atlas_pipeline.stages.atlas.judge_features import JUDGE_FEATURES
from atlas_pipeline.stages.sampling import check
from atlas_pipeline.stages.sampling.check import CHECK, rows_of
from atlas_pipeline.stages.sampling.sample import SAMPLE


def with_checks(steps: Iterable[Step]) -> list[Step]:
    """The steps, with a check of every sampled network and layer inserted before the first sample.

    No other step takes a check as its input, because samples do not depend on the findings.
    """
    all_steps = ordered(steps)
    samples = [step for step in all_steps if step.stage.name == SAMPLE.name]
    if not samples:
        return all_steps
    checks = [check.step(sample, _icon_settings(sample, all_steps)) for sample in samples]
    first = all_steps.index(samples[0])
    return ordered([*all_steps[:first], *checks, *all_steps[first:]])


def _icon_settings(sample: Step, steps: Sequence[Step]) -> Mapping[str, Any] | None:
    """The icon settings that depend on the network; None if no icons are made for the sample's layer."""
    for step in steps:
        if step.stage.name == INVERT.name and _network_and_layer(step) == _network_and_layer(sample):
            return {name: step.config.invert[name] for name in ("size_px", "arithmetic")}
    return None


def _network_and_layer(step: Step) -> tuple[Any, str | None]:
    """The identity of a step's network, and its layer."""
    return plain_config(step.config).get("model"), step.layer


def checks_for(left: Iterable[Step], steps: Sequence[Step]) -> list[Step]:
    """The checks of the networks and layers of the steps ``left`` to make."""
    wanted = [_network_and_layer(step) for step in left if step.stage.is_checked]
    # Search ``steps``, not ``left``: steps in ``left`` are copies, and a copy would count as another check.
    return [step for step in steps if step.stage.name == CHECK.name and _network_and_layer(step) in wanted]


def refuse_judge(config: Config, left: Iterable[Step], device: str) -> None:
    """Open the judge of the icons at the start of a run that needs it: its turn comes last.

    Raises: ModelError: it cannot be opened, or has no features to compare.
    """
    spec = judge_spec(config)
    if spec is None or all(step.stage.name != JUDGE_FEATURES.name for step in left):
        return
    from atlas_pipeline.models.penultimate import logits_module

    with about_judge():
        logits_module(opened_network(spec, device))


def made_elsewhere(checks: Sequence[Step], store: Store, device: str) -> bool:
    """Whether one of the checks ran on another kind of device than this run's."""
    kind = device.partition(":")[0]
    return any(made.notes["device"] != kind for made in artefacts_of(checks, store).values())


def refuse_failed(checks: Sequence[Step], store: Store, *, cached: bool) -> None:
    """Refuse to go on if a finished check found that an atlas would be impossible or wrong.

    Args:   cached: whether the findings are from an earlier run.
    Raises: ModelError: a check failed.
    """
    failed = [row for row in rows_of(artefacts_of(checks, store).values()) if row["verdict"] == "fails"]
    if not failed:
        return
    # Report logits last: if they are not finite, a layer is the cause.
    first, *others = sorted(failed, key=lambda row: row["check"] == "logits")
    where = f"layer '{first['layer']}'" if first["layer"] else "the network"
    more = f" (and {len(others)} more)" if others else ""
    again = "; after a change that the config does not show, add --force" if cached else ""
    raise ModelError(
        f"{where} fails its check, {first['check']}: {first['said']}{more}. "
        f"The whole table: atlas check CONFIG{again}"
    )


def summary(checks: Sequence[Step], store: Store) -> str:
    """One line on checks that all passed."""
    made = artefacts_of(checks, store)
    num_images = max((artefact.notes["num_images"] for artefact in made.values()), default=0)
    num_notes = sum(row["verdict"] == "note" for row in rows_of(made.values()))
    notes = f"{counted(num_notes, 'note')}: atlas check CONFIG" if num_notes else "all well"
    return f"the network and {counted(len(made), 'layer')} checked on {num_images} images: {notes}"
