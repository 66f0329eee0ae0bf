"""The units of a layer that a run makes pages of, and tasks over them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Task


def chosen_units(config: Config, layer: str) -> tuple[int, ...]:
    """The units of a layer that ``units.only`` names, in order; empty: all of them."""
    named = (unit.rpartition(":") for unit in (config.units.only if config.units else ()))
    return tuple(sorted({int(number) for of_layer, _, number in named if of_layer == layer}))


def page_layers(config: Config) -> tuple[str, ...]:
    """The layers that have units with pages."""
    only = config.units.only if config.units else ()
    return tuple(layer for layer in config.unit_layers if not only or chosen_units(config, layer))


def numbers_of(units: Sequence[int], num_units: int) -> list[int]:
    """The chosen units of a layer with ``num_units`` units; an empty choice stands for all."""
    return list(units) or list(range(num_units))


def unit_tasks(num_chosen: int, per_task: int) -> list[Task]:
    """Tasks of about equal size over the chosen units, at least one."""
    num_tasks = max(1, -(-num_chosen // per_task))
    ends = [index * num_chosen // num_tasks for index in range(num_tasks + 1)]
    return [{"start": start, "stop": stop} for start, stop in pairwise(ends)]
