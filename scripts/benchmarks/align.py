"""Aligned against independent layouts of several layers: distances of the same images, quality and cost.

    uv run python -m scripts.benchmarks.align configs/quickstart.yaml --picture docs/images/aligned.png
    uv run python -m scripts.benchmarks.align configs/cifar10.yaml --rows 2000 10000 --reference --set ...

Runs `atlas sample` where it is not finished. Seconds are CPU seconds. `--reference` adds umap-learn's
AlignedUMAP, called as its users would. A distance is between the places of an image in consecutive
layers, in units of the side of the map. "Turned" makes independent layouts comparable: each is rotated,
mirrored and shifted to fit the one before it (Procrustes), and all are then scaled to one box.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.linalg import orthogonal_procrustes

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.layout.aligned_umap import AlignedLayer, aligned_layouts
from atlas_pipeline.layout.neighbors import NearVertices, neighbors
from atlas_pipeline.layout.springs import Alignment
from atlas_pipeline.layout.umap_layout import UmapSettings, umap_layouts
from atlas_pipeline.numerics.alignment import layout_alignment
from atlas_pipeline.numerics.blocks import gather_rows
from atlas_pipeline.numerics.normalise import normalise_layout, normalise_together
from atlas_pipeline.numerics.quality import layout_quality
from atlas_pipeline.numerics.subset import random_subset
from atlas_pipeline.pictures.layout_pictures import scatter_plot
from atlas_pipeline.pictures.lettering import canvas, place, write
from atlas_pipeline.runs import commands
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.population import ActivationBlocks

QUALITY = ("neighbor_recall", "trustworthiness", "rank_correlation")
PANEL_PX, MARGIN_PX, TITLE_PX = 420, 20, 44
Layouts = list[np.ndarray]


@dataclass(frozen=True)
class Layer:
    """One sampled layer.

    matrix: (activation, channel) float32. label: (activation,) of the images. near: the neighbours found.
    seconds: CPU time of the neighbour search.
    """

    name: str
    matrix: np.ndarray
    label: np.ndarray
    near: NearVertices
    seconds: float


def layers_of(config: Config, num_rows: int | None) -> list[Layer]:
    """All activations of the sampled layers, or the same random rows of each."""
    commands.run(config, command="sample", quiet=True)
    store, project = Store(config.run.workspace), config.project
    layers = []
    for step in steps_of(config):
        if step.stage.name != "sample":
            continue
        sample = artefact_of(step, store)
        assert sample is not None, "`atlas sample` has just finished"
        rows = random_subset(sample.num_rows, num_rows, config.seed, 0)
        matrix = gather_rows(ActivationBlocks(sample), rows)
        label = sample.read(["label"])["label"].to_numpy()[rows]
        start = time.process_time()
        near = neighbors(
            [matrix], len(rows), project.num_neighbors, metric=project.metric, method="approximate"
        )
        layers.append(Layer(str(step.layer), matrix, label, near, time.process_time() - start))
    return layers


def each_alone(layers: Sequence[Layer], settings: UmapSettings) -> Layouts:
    """Lay out each layer independently."""
    return [umap_layouts([layer.matrix], layer.near, settings, [0])[0] for layer in layers]


def turned(layouts: Layouts) -> Layouts:
    """Rotate, mirror and shift each layout to fit the one before it."""
    first, *others = layouts
    result = [first - first.mean(axis=0)]
    for layout in others:
        centred = layout - layout.mean(axis=0)
        rotation, _ = orthogonal_procrustes(centred, result[-1])
        result.append(centred @ rotation)
    return normalise_together(result)


def together(layers: Sequence[Layer], settings: UmapSettings, alignment: Alignment) -> Layouts:
    """Lay out all layers together, with our aligned UMAP."""
    aligned = [
        AlignedLayer(activations=[layer.matrix], neighbors=layer.near, ids=np.arange(len(layer.matrix)))
        for layer in layers
    ]
    (layouts,) = aligned_layouts(aligned, settings, alignment, [0])
    return normalise_together(layouts)


def by_umap_learn(layers: Sequence[Layer], settings: UmapSettings, alignment: Alignment) -> Layouts:
    """Lay out all layers by umap-learn's AlignedUMAP, which searches the neighbours itself."""
    import umap

    same = {row: row for row in range(len(layers[0].matrix))}
    aligned = umap.AlignedUMAP(
        n_neighbors=settings.num_neighbors,
        min_dist=settings.min_dist,
        metric=settings.metric,
        n_epochs=settings.epochs_for(len(same)),
        alignment_regularisation=alignment.regularisation,
        alignment_window_size=alignment.window_size,
    )
    return normalise_together(
        aligned.fit_transform([layer.matrix for layer in layers], relations=[same] * (len(layers) - 1))
    )


def figures(layers: Sequence[Layer], layouts: Layouts, metric: Any) -> dict[str, float]:
    """Mean distances over pairs of consecutive layers, and mean quality over layers."""
    pairs = [layout_alignment(one, other, 0) for one, other in pairwise(layouts)]
    quality = [
        layout_quality([layer.matrix], layout, 0, metric)
        for layer, layout in zip(layers, layouts, strict=True)
    ]
    means = {key: np.mean([pair[key] for pair in pairs]) for key in pairs[0]}  # type: ignore[arg-type]
    means |= {key: np.mean([one[key] for one in quality]) for key in QUALITY}  # type: ignore[arg-type]
    return {key: float(value) for key, value in means.items()}


def cases(
    layers: Sequence[Layer], settings: UmapSettings, strengths: Sequence[float], window: int, reference: bool
) -> Iterator[tuple[str, Layouts, float]]:
    """Yield the name, the layouts in one box and the CPU seconds of each method."""

    def timed(work: Callable[[], Layouts]) -> tuple[Layouts, float]:
        start = time.process_time()
        return work(), time.process_time() - start

    alone, seconds = timed(lambda: each_alone(layers, settings))
    boxed = [normalise_layout(layout) for layout in alone]
    yield "each alone", boxed, seconds
    yield "each alone, turned", turned(boxed), seconds
    for strength in strengths:
        alignment = Alignment(regularisation=strength, window_size=window)
        layouts, seconds = timed(lambda alignment=alignment: together(layers, settings, alignment))  # type: ignore[misc]
        yield f"together, {strength:g}", layouts, seconds
    if reference:
        alignment = Alignment(regularisation=strengths[0], window_size=window)
        layouts, seconds = timed(lambda: by_umap_learn(layers, settings, alignment))
        yield f"AlignedUMAP, {strengths[0]:g}", layouts, seconds


def picture(layers: Sequence[Layer], rows: dict[str, Layouts]) -> Image.Image:
    """Scatter plots: one row per method, one column per layer, coloured by image label."""
    side, row_px = PANEL_PX + MARGIN_PX, PANEL_PX + TITLE_PX
    image = canvas(side * len(layers) - MARGIN_PX, row_px * len(rows))
    for number, (title, layouts) in enumerate(rows.items()):
        for column, (layer, layout) in enumerate(zip(layers, layouts, strict=True)):
            caption = f"{layer.name}, {title}"
            write(
                image,
                (column * side + PANEL_PX / 2, number * row_px + TITLE_PX / 2),
                caption,
                18,
                align="middle",
            )
            panel = scatter_plot(layout, layer.label, size_px=PANEL_PX)
            place(image, panel, column * side, number * row_px + TITLE_PX)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument(
        "--rows", type=int, nargs="+", help="numbers of random activations per layer (default: all)"
    )
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.01], help="of the alignment")
    parser.add_argument("--reference", action="store_true", help="also run umap-learn's AlignedUMAP")
    parser.add_argument("--picture", type=Path, help="draw independent and aligned layouts to this file")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="A.B=C")
    options = parser.parse_args()
    config = load_config(options.config, options.overrides)
    project = config.project
    settings = UmapSettings(
        num_neighbors=project.num_neighbors,
        min_dist=project.min_dist,
        metric=project.metric,
        engine="parallel",
    )
    # Compile before timing.
    tiny = layers_of(config, 50)
    list(cases(tiny, settings, [1.0], 1, reference=False))
    for num_rows in options.rows or [None]:
        layers = layers_of(config, num_rows)
        print(f"\n{len(layers[0].matrix):,} activations, {len(layers)} layers, ", end="")
        print(f"neighbours {sum(layer.seconds for layer in layers):.1f} s\n")
        drawn = {}
        for name, layouts, seconds in cases(
            layers, settings, options.strengths, project.align_window_size, options.reference
        ):
            measured = figures(layers, layouts, project.metric)
            if not drawn:
                print(
                    "| | s | " + " | ".join(measured) + " |" + "\n|---" + "|---" * (len(measured) + 1) + "|"
                )
            drawn[name] = layouts
            values = " | ".join(f"{value:.3f}" for value in measured.values())
            print(f"| {name} | {seconds:.1f} | {values} |", flush=True)
        if options.picture:
            wanted = ["each alone, turned", f"together, {options.strengths[0]:g}"]
            image = picture(layers, {name: drawn[name] for name in wanted})
            image.quantize(256, Image.Quantize.MEDIANCUT).save(options.picture, optimize=True)


if __name__ == "__main__":
    main()
