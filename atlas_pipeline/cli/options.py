"""Options that commands share, and loading a config with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

DEBUG = "atlas.debug"
"""Key in the context's `meta` for whether tracebacks are shown."""
QUIET = "atlas.quiet"
"""Key in the context's `meta` for whether progress is hidden."""

Command = Callable[..., Any]


def _note_debug(context: click.Context, _: click.Parameter, debug: bool) -> None:
    context.meta[DEBUG] = debug


def _note_quiet(context: click.Context, _: click.Parameter, quiet: bool) -> bool:
    context.meta[QUIET] = quiet
    return quiet


def _with(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in options:
            command = option(command)
        return command

    return decorate


set_option = click.option(
    "--set", "overrides", multiple=True, metavar="A.B=C", help="Override a key of the config."
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_note_debug, help="Show tracebacks."
)
config_options = _with(click.argument("config", type=click.Path()), set_option, debug_option)
"""CONFIG is a YAML file, the folder of a run, or the name of a config of ours."""

pipeline_option = click.option(
    "--pipeline",
    metavar="FILE",
    help="A pipeline file of your own. Default: the pipelines that CONFIG needs.",
)


class _Workers(click.ParamType):
    """A number of workers, or ``auto``."""

    name = "workers"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        return value if value == "auto" else click.IntRange(0).convert(value, param, context)


run_options = _with(
    click.option("--device", metavar="auto|cpu|cuda[:n]", help="Where the network runs."),
    click.option("--workers", type=click.IntRange(0), help="Processes that decode images."),
    click.option(
        "--local-cluster",
        type=_Workers(),
        default="auto",
        envvar="ATLAS_LOCAL_CLUSTER",
        metavar="auto|N",
        help="Run tasks on N Dask workers on this machine; 0: in this process; auto: workers where they pay.",
    ),
    click.option("--cluster", metavar="tcp://HOST:PORT", help="Run tasks on an existing Dask scheduler."),
    click.option("--force", is_flag=True, help="Recompute what this command makes."),
    click.option("--quiet", is_flag=True, callback=_note_quiet, help="Show no progress."),
)

no_deps_option = click.option(
    "--no-deps", is_flag=True, help="Do not make missing inputs; report which are missing."
)


def load(
    config: str, overrides: tuple[str, ...], device: str | None = None, workers: int | None = None
) -> Any:
    """Load the config, with keys overridden by --set, --device and --workers."""
    from atlas_pipeline.config.loading import load_config

    extra = [f"run.device={device}"] if device else []
    extra += [f"run.workers={workers}"] if workers is not None else []
    return load_config(config, [*overrides, *extra])
