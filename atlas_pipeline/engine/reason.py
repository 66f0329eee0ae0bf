"""Explains why a step would run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from atlas_pipeline.engine.declaration import plain_config
from atlas_pipeline.engine.location import Location
from atlas_pipeline.engine.manifest import Manifest
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.engine.survey import Finding, Survey

_MAX_NAMED = 3


def why_damaged(names: Sequence[str], folder: Location, tasks: int | None) -> str:
    if len(names) == 1:
        return f"{names[0]} is {'damaged' if (folder / names[0]).exists() else 'missing'}"
    return f"{len(names)} of {tasks} parts are damaged or missing: {_first_few(names)}"


def why_missing(step: Step, found: Finding, survey: Survey, earlier: Sequence[Manifest]) -> str:
    """Compare a step with the latest artefact with its stage and labels. earlier: manifests of the stage."""
    waits = [
        f"input {source.stage.name} has to run first"
        for source in step.inputs.values()
        if found.fingerprint is None and survey.look(source).identity is None
    ]
    latest = _latest(step, found, earlier)
    if latest is None:
        return "never run"
    return "; ".join(dict.fromkeys([*_differences(step, survey, latest), *waits])) or "never run"


def _latest(step: Step, found: Finding, earlier: Sequence[Manifest]) -> Manifest | None:
    same_labels = [
        manifest
        for manifest in earlier
        if manifest.labels == (step.layer, step.view, step.grid) and manifest.fingerprint != found.fingerprint
    ]
    return max(same_labels, key=lambda manifest: manifest.finished, default=None)


def _differences(step: Step, survey: Survey, latest: Manifest) -> Iterator[str]:
    if latest.version != step.stage.version:
        yield f"stage version {latest.version} -> {step.stage.version}"
    before, after = dict(_flat(latest.config)), dict(_flat(plain_config(step.config)))
    changed = [
        f"{key} {_value_text(before, key)} -> {_value_text(after, key)}"
        for key in dict.fromkeys([*after, *before])
        if _value_text(before, key) != _value_text(after, key)
    ]
    if changed:
        yield f"config changed: {_first_few(changed)}"
    for role, source in step.inputs.items():
        identity = survey.look(source).identity
        recorded = latest.inputs.get(role, {}).get("identity")
        if recorded is None or (identity is not None and identity != recorded):
            yield f"input {source.stage.name} changed"


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _value_text(flat: Mapping[str, Any], key: str) -> str:
    return json.dumps(flat[key], ensure_ascii=False) if key in flat else "(not there)"


def _first_few(items: Sequence[str]) -> str:
    more = f" and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    return ", ".join(_truncate(item) for item in items[:_MAX_NAMED]) + more


def _truncate(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
