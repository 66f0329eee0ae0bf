"""The commands that read a finished run: `atlas figure`, `atlas export`."""

from __future__ import annotations

from typing import Any

import click

from atlas_pipeline.cli.options import config_options, load
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.request import COLOURS

# Parameters that apply only to a figure of one atlas, with their options.
_SINGLE_ATLAS_OPTIONS = {
    "region": "--region",
    "labels": "--labels",
    "loupes": "--loupe",
    "colour": "--colour",
}


@click.command(short_help="Draw an atlas for print, with labels and a caption.")
@config_options
@click.option(
    "--layer", metavar="LAYER", help="Layer to draw. Default with --sheet classes: the last one with any."
)
@click.option(
    "--view",
    metavar="VIEW",
    help="all (default), class-<class> or compare-<left>-<right>; with --sheet classes, a list: a,b.",
)
@click.option(
    "--grid", type=click.IntRange(1), metavar="N", help="Default: the finest grid readable in print."
)
@click.option("--region", metavar="X0,Y0,X1,Y1", help="Part of the map to draw, from 0 to 1, y up.")
@click.option(
    "--labels",
    type=click.IntRange(0, 100),
    metavar="N",
    help="Number of regions to label. Default: up to 12; none on a class atlas.",
)
@click.option("--loupe", "loupes", multiple=True, metavar="X,Y[,CELLS]", help="Place to enlarge; repeatable.")
@click.option(
    "--colour",
    type=click.Choice(list(COLOURS)),
    help="Measure that the small map shows. Default: count.",
)
@click.option("--sheet", type=click.Choice(["layers", "classes"]), help="Draw all of them on one sheet.")
@click.option("--title", metavar="TEXT", help="Title in place of the generated one.")
@click.option("--width-mm", type=float, default=180.0, show_default=True, help="Width in print.")
@click.option("--dpi", type=int, default=300, show_default=True, help="Resolution of the icons.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="File to write: .pdf, .svg or .png.")
def figure(config: str, overrides: tuple[str, ...], output: str | None, **options: Any) -> None:
    """Draw an atlas for print, with labels, loupes, legends and a caption.

    Its BibTeX entry (.bib) and a paragraph for a methods section (-methods.md) are written beside it.
    """
    from atlas_pipeline.engine.location import location_of
    from atlas_pipeline.runs import outputs

    request = _request(**options)
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
    **single: Any,
) -> Any:
    from atlas_pipeline.figure.request import FigureRequest, Print, SheetRequest, parse_loupe, parse_region

    size = Print(width_mm=width_mm, dpi=dpi)
    if sheet is not None:
        given = [option for name, option in _SINGLE_ATLAS_OPTIONS.items() if single[name] not in (None, ())]
        if given:
            raise ConfigError(f"--sheet shows whole atlases: leave out {', '.join(given)}")
        # View names are folder names and never contain a comma.
        views = tuple(view.split(",")) if view else ()
        return SheetRequest(kind=sheet, layer=layer, views=views, grid=grid, title=title, size=size)
    if layer is None:
        raise ConfigError("--layer is missing: name the layer to draw, or take --sheet layers")
    region = single["region"]
    return FigureRequest(
        layer=layer,
        view=view or "all",
        grid=grid,
        region=None if region is None else parse_region(region),
        num_labels=single["labels"],
        loupes=tuple(parse_loupe(text) for text in single["loupes"]),
        measure=single["colour"] or "count",
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
