"""Checks of the atoms that a config asks for, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable

from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.stages.directions.atoms import ATOMS
from atlas_pipeline.tables.decoder_file import decoder_atoms, decoder_path


def refuse_directions(config: Config, left: Iterable[Step], device: str) -> None:
    """Refuse more NMF atoms than channels, or a decoder that does not fit the layers.

    Raises: ModelError: no such layer, or no spatial map. ConfigError: the atoms do not fit.
    """
    section = config.directions
    layers = dict.fromkeys(str(step.layer) for step in left if step.stage.name == ATOMS.name)
    if section is None or not layers:
        return
    from atlas_pipeline.models import check_layers
    from atlas_pipeline.models.layer_samples import map_shape

    network = opened_network(model_spec(config), device)
    check_layers(network, layers)
    for layer in layers:
        num_channels = map_shape(network, layer)[0]
        if section.method == "file":
            decoder_atoms(decoder_path(section.file or ""), num_channels, layer)
        elif section.method == "nmf" and section.num_atoms > num_channels:
            raise ConfigError(
                f"directions.num_atoms: layer '{layer}' has {num_channels} channels, so its rank is at most "
                f"that, and NMF finds no {section.num_atoms} atoms; lower num_atoms, or set "
                "directions.method: dictionary"
            )
