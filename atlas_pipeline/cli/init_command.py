"""The command that begins a run: `atlas init` writes a config for a network and images."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from atlas_pipeline.cli.options import debug_option
from atlas_pipeline.errors import ConfigError

_QUESTIONS = {
    "network": "Network, as SOURCE:NAME (e.g. torchvision:resnet18, python:my_file.py:build, or demo)",
    "images": "Images: a folder, a .parquet or .tar file or glob, or 'generated'",
}


@click.command(short_help="Write a config that fits your network and images.")
@click.option("--network", metavar="SOURCE:NAME", help="The network, such as torchvision:resnet18.")
@click.option("--weights", metavar="FILE|random", help="Its weights. Default: the network's own.")
@click.option("--images", metavar="PATH", help="A folder, shards (.parquet, .tar), or 'generated'.")
@click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Layer to take. Default: proposed.")
@click.option("--name", metavar="NAME", help="The run's name. Default: that of FILE or of the images.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: NAME.yaml.")
@click.option("--force", "is_forced", is_flag=True, help="Write over an existing file.")
@debug_option
def init(network: str | None, weights: str | None, images: str | None, **options: Any) -> None:
    """Write a commented config that fits your network and images.

    Layers, grids, the icons' size and the attributions are proposed after a look at both. In a terminal, what
    is not given by an option is asked.
    """
    # Ask before the slow imports.
    is_asked = network is None
    network = _given("network", network)
    if is_asked and weights is None:
        weights = (
            click.prompt("Weights: a file, 'random', or empty for the network's own", default="") or None
        )
    images = _given("images", images)
    click.echo(f"a config for {network} on {images} ...", err=True)
    from atlas_pipeline.cli.printing import print_next
    from atlas_pipeline.runs.init import Request
    from atlas_pipeline.runs.init import init as write_config

    request = Request(network=network, weights=weights, images=images, **options)
    path = write_config(request, say=lambda line: click.echo(line, err=True))
    click.echo(path)
    print_next([f"atlas {command} {shlex.quote(str(path))}" for command in ("check", "run")])


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _given(option: str, value: str | None) -> str:
    if value is None and not _is_terminal():
        raise ConfigError(f"--{option} is missing. {_QUESTIONS[option]}")
    return value or click.prompt(_QUESTIONS[option])
