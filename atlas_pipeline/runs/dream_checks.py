"""Checks of the layers that a run dreams of, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable

from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.stages.dreams.dream import DREAM


def refuse_dreams(config: Config, left: Iterable[Step], device: str) -> None:
    """Refuse layers that the network does not have, or that have no spatial map.

    Raises: ModelError: the message names the nearest layer with a map.
    """
    layers = dict.fromkeys(str(step.layer) for step in left if step.stage.name == DREAM.name)
    if not layers:
        return
    from atlas_pipeline.models import check_layers

    check_layers(opened_network(model_spec(config), device), layers)
