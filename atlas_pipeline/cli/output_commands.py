"""The commands that read a finished run: `atlas figure`, `atlas export`."""

from __future__ import annotations

from typing import Any

import click

from atlas_pipeline.cli.options import config_options, load
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.request import COLOURS

# What only a figure of one atlas has, by option.
_OF_ONE_ATLAS = {
    "region": "--region",
    "labels": "--labels",
    "loupes": "--loupe",
    "colour": "--colour",
}


@click.command(short_help="Draw an atlas for print, with labels and a caption.")
@config_options
@click.option("--layer", metavar="LAYER", help="Which layer; of --sheet classes: default the last with any.")
@click.option(
    "--view",
    metavar="VIEW",
    help="all (default), class-<class> or compare-<left>-<right>; of --sheet classes some, a,b.",
)
@click.option("--grid", type=click.IntRange(1), metavar="N", help="Default: the finest readable in print.")
@click.option("--region", metavar="X0,Y0,X1,Y1", help="A part of the map, from 0 to 1, y up.")
@click.option(
    "--labels",
    type=click.IntRange(0, 100),
    metavar="N",
    help="Regions to name. Default: up to 12, none of a class atlas.",
)
@click.option("--loupe", "loupes", multiple=True, metavar="X,Y[,CELLS]", help="A place to enlarge; repeated.")
@click.option(
    "--colour",
    type=click.Choice(list(COLOURS)),
    help="What the small map shows. Default: count.",
)
@click.option("--sheet", type=click.Choice(["layers", "classes"]), help="All of them on one sheet.")
@click.option("--title", metavar="TEXT", help="In place of the one that is made.")
@click.option("--width-mm", type=float, default=180.0, show_default=True, help="Width in print.")
@click.option("--dpi", type=int, default=300, show_default=True, help="How fine the icons are.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help=".pdf, .svg or .png.")
def figure(config: str, overrides: tuple[str, ...], output: str | None, **shown: Any) -> None:
    """Draw an atlas for print, with labels, loupes, legends and a caption.

    Beside it go its BibTeX (.bib) and a paragraph for the methods section (-methods.md).
    """
    from atlas_pipeline.engine.location import location_of
    from atlas_pipeline.runs import outputs

    request = _request(**shown)
    for path in outputs.figure(load(config, overrides), request, location_of(output) if output else None):
        click.echo(path)


def _request(
    *,
    layer: str | None,
    sheet: Any,
    grid: int | None,
    view: str | None,
    title: str | None,
    width_mm: float,
    dpi: int,
    **of_one: Any,
) -> Any:
    from atlas_pipeline.figure.request import FigureRequest, Print, SheetRequest, parse_loupe, parse_region

    size = Print(width_mm=width_mm, dpi=dpi)
    if sheet is not None:
        given = [option for name, option in _OF_ONE_ATLAS.items() if of_one[name] not in (None, ())]
        if given:
            raise ConfigError(f"--sheet shows whole atlases: leave out {', '.join(given)}")
        # A view's name is fit for a folder: no comma is in it.
        views = tuple(view.split(",")) if view else ()
        return SheetRequest(kind=sheet, layer=layer, views=views, grid=grid, title=title, size=size)
    if layer is None:
        raise ConfigError("--layer is missing: name the layer to draw, or take --sheet layers")
    region = of_one["region"]
    return FigureRequest(
        layer=layer,
        view=view or "all",
        grid=grid,
        region=None if region is None else parse_region(region),
        num_labels=of_one["labels"],
        loupes=tuple(parse_loupe(text) for text in of_one["loupes"]),
        measure=of_one["colour"] or "count",
        title=title,
        size=size,
    )


@click.command(short_help="Pack a run into one zip.")
@config_options
@click.option(
    "-o", "--output", type=click.Path(), metavar="FILE.zip", help="Default: beside the run's folder."
)
def export(config: str, overrides: tuple[str, ...], output: str | None) -> None:
    """Pack a run's pictures, JSON, page and provenance into one zip."""
    from atlas_pipeline.engine.location import location_of
    from atlas_pipeline.runs import outputs

    path, num_files = outputs.export(load(config, overrides), location_of(output) if output else None)
    click.echo(f"{num_files} files", err=True)
    click.echo(path)
