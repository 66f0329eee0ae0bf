"""Agreement of attribution with ablation: rank correlations, top classes and cost.

    python -m scripts.measurements.attribution configs/quickstart.yaml --json attribution.json

Uses images of the run, at the sampled positions. Prints the medians of two Spearman rank correlations: over
the classes of one activation (which classes does it support?), and over the activations of one class (which
activations support it?). Also prints the share of activations with the same top class, and the cost in
forward passes through the whole network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import rankdata

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.images.batches import image_batches
from atlas_pipeline.images.listing import list_images
from atlas_pipeline.models import Network, check_layers
from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution import attribution, path_points
from atlas_pipeline.models.capture import layer_outputs
from atlas_pipeline.models.layer_samples import map_shape
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.positions import relative_positions, spatial_positions

BATCH = 64
STEPS = (1, 2, 4, 8)
ABLATION = "ablation"


def variants() -> dict[str, dict[str, Any]]:
    """Arguments of `attribution` by the name of the variant."""
    made: dict[str, dict[str, Any]] = {
        f"gradient, {pool}": {"maxpool_gradient": pool} for pool in ("exact", "smooth")
    }
    for num_steps in STEPS:
        path = path_points("integrated", num_steps)
        made[f"integrated {num_steps}, exact"] = {"maxpool_gradient": "exact", "path": path}
    return made | {f"integrated {num_steps}, smooth": {"maxpool_gradient": "smooth", "path": path}}


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman rank correlation of each row of a with that row of b; NaN where either is constant."""
    ranks = [rankdata(values, axis=1) for values in (a, b)]
    a, b = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))


def agreement(found: np.ndarray, lost: np.ndarray) -> dict[str, float]:
    """Agreement of attribution with ablation, both (activation, class).

    Activations whose ablation changes no logit are left out.
    """
    matters = lost.any(axis=1)
    found, lost = found[matters], lost[matters]
    return {
        "over classes": float(np.nanmedian(correlation(found, lost))),
        "over activations": float(np.nanmedian(correlation(found.T, lost.T))),
        "same top class": float((found.argmax(axis=1) == lost.argmax(axis=1)).mean()),
    }


def batches(config: Config, network: Network, num_images: int) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield image ids and images in [0, 1], evenly spaced over the images of the run."""
    images = config.images
    index = list_images(images.source, images.path, num_images=images.wanted, seed=config.seed)
    chosen = np.unique(np.linspace(0, index.num_rows - 1, min(num_images, index.num_rows)).astype(np.int64))
    read = image_batches(
        index.take(chosen),
        source=images.source,
        path=images.path,
        preprocess=network.preprocess,
        seed=config.seed,
        batch_size=BATCH,
        num_workers=0,
    )
    for batch in track(list(read), description="images"):
        yield batch.image_id, batch.images.float() / 255


class Timed:
    """Results and durations of calls, by name."""

    def __init__(self) -> None:
        self._values: dict[str, list[np.ndarray]] = {}
        self._seconds: dict[str, list[float]] = {}

    def call(self, name: str, compute: Callable[[], torch.Tensor]) -> None:
        started = time.perf_counter()
        values = compute().numpy()
        self._seconds.setdefault(name, []).append(time.perf_counter() - started)
        self._values.setdefault(name, []).append(values)

    def values(self, name: str) -> np.ndarray:
        return np.concatenate(self._values[name])

    def seconds(self, name: str) -> float:
        """Median seconds of a call: the first one for a layer also cuts the network."""
        return float(np.median(self._seconds[name]))


def measured(config: Config, num_images: int) -> list[dict[str, Any]]:
    """Measure every variant in every layer, one row each."""
    network = opened_network(model_spec(config), "cpu")
    check_layers(network, config.layers)
    whole, of_layer = Timed(), {layer: Timed() for layer in config.layers}
    for ids, images in batches(config, network, num_images):
        with torch.no_grad():
            whole.call("forward", lambda images=images: network.logits(images))
            outputs = layer_outputs(network, images, config.layers)
        for layer, timed in of_layer.items():
            h = outputs[layer]
            _, height, width = map_shape(network, layer)
            relative = relative_positions(config.seed, ids, 1)
            at = torch.from_numpy(spatial_positions(relative, height, width, config.sample.edge)[:, 0])
            arguments = (network, images, layer, at.long())
            timed.call(ABLATION, lambda a=arguments, h=h: ablation(*a, output=h))
            for name, options in variants().items():
                timed.call(name, lambda a=arguments, h=h, o=options: attribution(*a, output=h, **o))
    return [
        {
            "layer": layer,
            "variant": name,
            **(agreement(timed.values(name), timed.values(ABLATION)) if name != ABLATION else {}),
            "forwards": timed.seconds(name) / whole.seconds("forward"),
            "images": len(timed.values(name)),
        }
        for layer, timed in of_layer.items()
        for name in (*variants(), ABLATION)
    ]


@click.command()
@click.argument("config_path", metavar="CONFIG")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C")
@click.option("--num-images", default=1000, show_default=True, help="Images of the run to use.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write the numbers to this file."
)
def main(config_path: str, overrides: tuple[str, ...], num_images: int, json_path: Path | None) -> None:
    """Print the agreement of attribution with ablation in every layer of CONFIG."""
    config = load_config(config_path, overrides)
    rows = measured(config, num_images)
    headings = ("layer", "variant", "over classes", "over activations", "same top class", "forwards")
    table = Table(*headings, title=f"{rows[0]['images']} activations per layer")
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v := row.get(name, "-"), float) else v for name in headings))
    Console(width=110).print(table)
    if json_path:
        json_path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
