"""Fingerprints: an artefact is identified by its stage, the version, the config and the inputs by role."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from atlas_pipeline.engine.declaration import plain_config
from atlas_pipeline.engine.stage import Stage, Step

# Bump when fingerprinting or storage changes; no older artefact is reused then.
SCHEME = 1


def canonical_json(value: Any) -> str:
    """The canonical JSON of a value: keys sorted, no spaces, tuples as lists.

    Raises: TypeError: neither None, bool, int, finite float, str, list, tuple, nor a mapping with str keys.
    """
    return json.dumps(_plain(value, "config"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(stage: Stage, config: Any, inputs: Mapping[str, str]) -> str:
    """The fingerprint of an artefact: 16 hex digits.

    Args:   inputs: the identity of each input, by role; swapping two roles changes the fingerprint.
    Raises: TypeError: the config holds something that is not a plain value.
    """
    body = {
        "scheme": SCHEME,
        "stage": stage.name,
        "version": stage.version,
        "config": plain_config(config),
        "inputs": inputs,
    }
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()[:16]


def recipes(steps: Iterable[Step]) -> dict[Step, str]:
    """A digest for every step and its inputs, inputs first; needs no store.

    Two steps have equal digests if their stages, their configs and the digests of their inputs are equal.
    """
    found: dict[Step, str] = {}

    def visit(step: Step) -> str:
        if step not in found:
            inputs = {role: visit(source) for role, source in step.inputs.items()}
            found[step] = fingerprint(step.stage, step.config, inputs)
        return found[step]

    for step in steps:
        visit(step)
    return found


def ordered(steps: Iterable[Step]) -> list[Step]:
    """Every step once, including unlisted inputs; inputs first, otherwise in the order given.

    The first of several steps with equal recipes is kept; it also replaces the others as an input.
    """
    found = recipes(steps)
    unique: dict[str, Step] = {}
    for step, recipe in found.items():
        if recipe not in unique:
            inputs = {role: unique[found[source]] for role, source in step.inputs.items()}
            unique[recipe] = replace(step, inputs=inputs)
    return list(unique.values())


def _plain(value: Any, where: str) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    # No default=str: the text of an object may contain its address, which differs in every run.
    raise TypeError(f"cannot fingerprint {where} = {value!r} ({type(value).__name__}): plain values only")
