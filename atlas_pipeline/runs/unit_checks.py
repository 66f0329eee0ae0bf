"""Checks of the units that a config names, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.network_cache import opened_network


def refuse_without_section(config: Config, command: str | None) -> None:
    """Refuse the commands `units`, `tuning` and `directions` for a config without a section of that name.

    Raises: ConfigError: the config lacks the section.
    """
    if command == "units" and config.units is None:
        raise ConfigError(
            "the config asks for no units; add `units: {}` for pages of every unit of its layers, or begin "
            f"with one: --set 'units.only=[\"{config.layers[0]}:0\"]'"
        )
    if command == "tuning" and config.tuning is None:
        raise ConfigError(
            "the config asks for no tuning; add `tuning: {}` for the units of all its layers, or name one "
            f"layer: --set tuning.layers={config.layers[0]}"
        )
    if command == "directions" and config.directions is None:
        raise ConfigError(
            "the config asks for no directions; add `directions: {}` for 32 atoms of each of its layers, or "
            "name a number: --set directions.num_atoms=16"
        )


def refuse_units(config: Config, left: Iterable[Step], device: str) -> None:
    """Refuse units or layers that the network does not have, if a run would look at them.

    Raises: ModelError: no such layer, or no spatial map. ConfigError: no such unit.
    """
    commands = {command for step in left for command in step.stage.commands}
    for name, section, layers in (
        ("units", config.units, config.unit_layers),
        ("tuning", config.tuning, config.tuning_layers),
    ):
        if section is not None and name in commands:
            _refuse_units(config, name, section.only, layers, device)


def _refuse_units(config: Config, name: str, only: Sequence[str], layers: Sequence[str], device: str) -> None:
    from atlas_pipeline.models import check_layers
    from atlas_pipeline.models.layer_samples import map_shape

    network = opened_network(model_spec(config), device)
    check_layers(network, layers)
    for unit in only:
        layer, _, number = unit.rpartition(":")
        num_units = map_shape(network, layer)[0]
        if int(number) >= num_units:
            raise ConfigError(
                f"{name}.only: '{unit}' is not there: layer '{layer}' has {num_units} units, from 0 on; "
                f"nearest: '{layer}:{num_units - 1}'"
            )
