"""The yardsticks of the icons of a finished run, with baselines, and the icons that each of them ranks.

    python -m scripts.measurements.yardsticks my.yaml --sheet yardsticks.png

The run needs `invert.yardsticks` and `invert.judge`. The sheet has two rows for each measure: the icons that
it puts lowest, and those that it puts highest. The order of the measures is that of the printed table.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.engine import Artefact, Store, artefact_of
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.pictures.png_codec import over_ground, pixels
from atlas_pipeline.runs.pipeline_file import steps_of

STAGES = ("bin", "invert", "yardsticks", "judge")
ROW = 12


def columns(made: dict[str, Artefact]) -> dict[str, np.ndarray]:
    """The measures of the cells, the better the higher; NaN where not known."""

    def read(stage: str, name: str) -> np.ndarray:
        return np.asarray(made[stage].read([name])[name].to_numpy(), dtype=np.float64)

    return {
        "transfer": -read("judge", "transfer"),
        "path": read("yardsticks", "path"),
        "ground": read("yardsticks", "ground"),
        "fidelity": read("invert", "fidelity"),
        "coherence": read("bin", "coherence"),
    }


def ranks_table(judge: pa.Table) -> Table:
    """Shares of rank 0 and of ranks below 5, for icons, real patches, other icons and noise."""
    table = Table("shown to the judge", "own cell nearest", "among five", "median rank")
    for name in ("transfer", "transfer_real", "transfer_other", "transfer_noise"):
        ranks = judge[name].drop_null().to_numpy()
        table.add_row(name, *(f"{(ranks < n).mean():.0%}" for n in (1, 5)), f"{np.median(ranks):.0f}")
    return table


def sheet(icons: np.ndarray, measures: dict[str, np.ndarray], path: Path) -> None:
    """Save two rows for each measure: the icons that it puts lowest and highest."""
    rows = []
    for values in measures.values():
        order = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
        rows += [np.concatenate(list(icons[order[part]]), axis=1) for part in (slice(ROW), slice(-ROW, None))]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)


@click.command()
@click.argument("config_path", metavar="CONFIG")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C")
@click.option("--sheet", "sheet_path", type=click.Path(path_type=Path), help="Picture to write.")
def main(config_path: str, overrides: tuple[str, ...], sheet_path: Path | None) -> None:
    """Print the yardsticks of the first layer and grid of the finished run of CONFIG."""
    config = load_config(config_path, overrides)
    layer, grid, store = config.layers[0], config.grid.sizes[0], Store(config.run.workspace)
    here = [s for s in steps_of(config) if (s.layer, s.view, s.grid) == (layer, "all", grid)]
    made = {s.stage.name: a for s in here if s.stage.name in STAGES and (a := artefact_of(s, store))}
    if missing := [stage for stage in STAGES if stage not in made]:
        raise ConfigError(
            f"{layer}, grid {grid}: {missing[0]} is not made; set invert.yardsticks and judge, and run: "
            f"atlas run {config_path}"
        )
    console, measures = Console(width=160), columns(made)
    console.print(ranks_table(made["judge"].read()))
    notes, yardsticks = made["yardsticks"].notes, made["yardsticks"].read()
    by_layer = np.nanmedian(np.array(yardsticks["path_by_layer"].to_pylist(), dtype=float), axis=0)
    known = dict(zip(notes["path_layers"], by_layer.round(3).tolist(), strict=True))
    console.print(f"path {np.nanmedian(measures['path']):.3f}, layer by layer {known}")
    console.print(f"path of other photos {np.nanmedian(yardsticks['path_other'].to_numpy()):.3f}")
    console.print(f"ground {np.nanmedian(measures['ground']):.3f}, {notes['real_crops'] | notes['noise']}")
    table = Table("rank correlation", *measures)
    matrix = spearmanr(np.stack(list(measures.values()), axis=1), nan_policy="omit").statistic
    for name, row in zip(measures, matrix, strict=True):
        table.add_row(name, *(f"{value:+.2f}" for value in row))
    console.print(table)
    if sheet_path:
        icons = over_ground(pixels(made["invert"].read(["icon"])["icon"]), MID_GREY)
        sheet(icons, {name: v for name, v in measures.items() if name != "coherence"}, sheet_path)


if __name__ == "__main__":
    main()
