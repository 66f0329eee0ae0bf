"""Checks of the units that a config names, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable

from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.network_cache import opened_network


def refuse_without_units(config: Config) -> None:
    """Refuse to make pages of units for a config without them.

    Raises: ConfigError: the config has no section ``units``.
    """
    if config.units is None:
        raise ConfigError(
            "the config asks for no units; add `units: {}` for pages of every unit of its layers, or begin "
            f"with one: --set 'units.only=[\"{config.layers[0]}:0\"]'"
        )


def refuse_units(config: Config, left: Iterable[Step], device: str) -> None:
    """Refuse units or layers that the network does not have, if a run would look at units.

    Raises: ModelError: no such layer, or no spatial map. ConfigError: no such unit.
    """
    if config.units is None or not any("units" in step.stage.commands for step in left):
        return
    from atlas_pipeline.models import check_layers
    from atlas_pipeline.models.layer_samples import map_shape

    network = opened_network(model_spec(config), device)
    check_layers(network, config.unit_layers)
    for unit in config.units.only:
        layer, _, number = unit.rpartition(":")
        num_units = map_shape(network, layer)[0]
        if int(number) >= num_units:
            raise ConfigError(
                f"units.only: '{unit}' is not there: layer '{layer}' has {num_units} units, from 0 on; "
                f"nearest: '{layer}:{num_units - 1}'"
            )
