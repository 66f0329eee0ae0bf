"""The commands that inspect a workspace: status, layers, page, bank of icons, artefacts to remove."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import suppress
from pathlib import Path

import click

from atlas_pipeline.cli.options import config_options, debug_option, load, pipeline_option, set_option
from atlas_pipeline.errors import ConfigError


@click.command(short_help="Show what is done, partial or missing, and why.")
@config_options
@pipeline_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
def status(config: str, overrides: tuple[str, ...], pipeline: str | None, as_json: bool) -> None:
    """Show what is done, partial or missing, and why it would run."""
    from atlas_pipeline.cli.printing import print_status
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides)
    states = commands.status(loaded, pipeline)
    if as_json:
        click.echo(json.dumps([state.as_json() for state in states], indent=2))
    else:
        print_status(states, commands.remarks_on_images(loaded, pipeline))


@click.command(short_help="List a network's layers, and propose some.")
@click.argument("config", metavar="CONFIG|NETWORK", type=click.Path())
@set_option
@debug_option
@click.option(
    "--all", "is_all", is_flag=True, help="List all layers with a map, not only the ends of blocks."
)
def layers(config: str, overrides: tuple[str, ...], is_all: bool) -> None:
    """List a network's layers with channels, map size and receptive field; a star marks those proposed.

    The network is that of CONFIG, which needs no layers yet, or NETWORK: its source and name, such as
    torchvision:resnet18, timm:convnext_tiny or python:path/to/file.py:build.
    """
    # Before the slow imports: opening a network takes seconds.
    click.echo(f"opening the network of {config} ...", err=True)
    from atlas_pipeline.cli.printing import print_layers
    from atlas_pipeline.config.loading import load_network
    from atlas_pipeline.config.run_settings import network_spec
    from atlas_pipeline.runs.layer_list import layer_list

    spec = network_spec(*load_network(config, overrides))
    print_layers(layer_list(spec, is_all=is_all, say=lambda line: click.echo(line, err=True)))


@click.command(short_help="Open the page that shows the atlases of CONFIG.")
@config_options
@click.option("--no-open", is_flag=True, help="Print the page's path only.")
@click.option("--serve", is_flag=True, help="Serve the run on this machine's loopback, for SSH.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8008,
    show_default=True,
    help="With --serve; 0: any free.",
)
def view(config: str, overrides: tuple[str, ...], no_open: bool, serve: bool, port: int) -> None:
    """Open the page that shows the atlases of CONFIG. For a workspace at a URL, only print its address.

    On a machine that you reach by SSH, --serve prints the line that forwards the page to your own.
    """
    from atlas_pipeline.runs import commands

    page = commands.page(load(config, overrides))
    if serve:
        if not isinstance(page, Path):
            raise ConfigError(f"--serve needs a workspace on this machine, not {page}")
        _serve(page, port)
        return
    click.echo(page)
    if no_open or not isinstance(page, Path):
        return
    if "SSH_CONNECTION" in os.environ and "DISPLAY" not in os.environ:
        # A browser here, if there is one, would be one of text in the terminal.
        click.echo(f"over SSH, see it by: atlas view {shlex.quote(config)} --serve", err=True)
    else:
        click.launch(str(page))


def _serve(page: Path, port: int) -> None:
    """Serve a page's folder until Ctrl-C."""
    from atlas_pipeline.runs.serving import LOOPBACK, forwarding, server_of

    with server_of(page.parent, port) as server:
        port = server.server_port
        click.echo(f"http://{LOOPBACK}:{port}/{page.name}")
        click.echo(f"from another machine, there: {forwarding(port)}", err=True)
        click.echo("then open the address above. Ctrl-C ends this.", err=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


@click.command(short_help="Collect finished icons, from which other runs can start theirs.")
@config_options
def bank(config: str, overrides: tuple[str, ...]) -> None:
    """Collect the workspace's finished icons of CONFIG's network and layers into a bank; print its digest.

    Runs start their icons from it with --set invert.bank=DIGEST.
    """
    from atlas_pipeline.runs import commands
    from atlas_pipeline.runs.icon_banks import bank_lines

    made = commands.bank(load(config, overrides))
    for line in (*bank_lines(made), str(made.bank.folder)):
        click.echo(line, err=True)
    click.echo(made.bank.digest)


@click.command(short_help="List or remove cached artefacts that no run needs.")
@config_options
@pipeline_option
@click.option("--yes", is_flag=True, help="Remove them instead of only listing them.")
def clean(config: str, overrides: tuple[str, ...], pipeline: str | None, yes: bool) -> None:
    """List cached artefacts that no run of the workspace reaches; with --yes, remove them."""
    from atlas_pipeline.cli.printing import print_clean
    from atlas_pipeline.runs import commands

    print_clean(commands.clean(load(config, overrides), pipeline, remove=yes), removed=yes)
