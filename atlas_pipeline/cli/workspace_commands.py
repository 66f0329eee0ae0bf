"""The commands that inspect a workspace: status, layers, page, bank of icons, artefacts to remove."""

from __future__ import annotations

import json

import click

from atlas_pipeline.cli.options import config_options, load, pipeline_option


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


@click.command(short_help="List the layers of CONFIG's network.")
@config_options
def layers(config: str, overrides: tuple[str, ...]) -> None:
    """List the layers of CONFIG's network: channels, map size, receptive field."""
    from atlas_pipeline.cli.printing import print_layers
    from atlas_pipeline.runs import commands

    print_layers(*commands.layers(load(config, overrides)))


@click.command(short_help="Open the page that shows the atlases of CONFIG.")
@config_options
@click.option("--no-open", is_flag=True, help="Print the page's path only.")
def view(config: str, overrides: tuple[str, ...], no_open: bool) -> None:
    """Open the page that shows the atlases of CONFIG. For a workspace at a URL, only print its address."""
    from pathlib import Path

    from atlas_pipeline.runs import commands

    page = commands.page(load(config, overrides))
    click.echo(page)
    if not no_open and isinstance(page, Path):
        click.launch(str(page))


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
