"""Options that commands share, and the config that they make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """CONFIG, --set and --debug."""
    for option in (
        click.argument("config", type=click.Path()),
        click.option(
            "--set", "overrides", multiple=True, metavar="A.B=C", help="Override a key of the config."
        ),
        click.option("--debug", is_flag=True, help="Show tracebacks."),
    ):
        command = option(command)
    return command


def load(
    config: str, overrides: tuple[str, ...], device: str | None = None, workers: int | None = None
) -> Any:
    """The config, its keys overridden by the options."""
    from atlas_pipeline.config.loading import load_config

    extra = [f"run.device={device}"] if device else []
    extra += [f"run.workers={workers}"] if workers is not None else []
    return load_config(config, [*overrides, *extra])
