"""Layer atlas: what a layer has learned to see, on one map (Carter et al., 2019, "Activation Atlas").

From every image we take one activation at a random spatial position, with its attribution to every logit.
The activations of a layer are laid out in the plane by UMAP; a grid is drawn over the layout; the activations
of a cell are averaged; and of each mean we make an icon by feature inversion.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.atlas import bin, cell_sums, invert, neighbors, project, stitch, whiten
from atlas_pipeline.stages.figures import highlight, plot, vocabulary
from atlas_pipeline.stages.pages import deep_zoom, examples, keys, places, shares, tiles
from atlas_pipeline.stages.sampling import crops, index, sample


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    yield images

    # One pass over the images serves all layers.
    samples = sample.steps(config, images)
    yield from samples.values()

    # What the viewer's search looks through.
    yield keys.step(config, images)

    # What real images look like at the icons' size: the yardstick of legibility.
    real_crops = crops.step(config, images)
    yield real_crops

    # One layout a layer, or one for all of them together.
    nearest = {layer: neighbors.step(config, samples[layer]) for layer in config.layers}
    layouts = project.steps(config, samples, nearest)

    coarsest_cells, coarsest_icons = {}, {}
    for layer in config.layers:
        activations, layout = samples[layer], layouts[layer]
        precision = whiten.step(activations)
        # A layout that takes the neighbours brings them with it.
        yield from (precision, layout)
        yield plot.step(config, activations, layout)
        yield places.step(config, images, layout)

        # One pass over the activations serves all grids.
        sums = cell_sums.steps(config, config.grid, activations, layout)
        grids = bin.steps(config, activations, layout, sums)
        yield from (*sums.values(), *grids.values())

        # A finer grid's icons start from the finished ones of the coarser.
        icons = invert.steps(config, grids, precision, real_crops)
        for size, of_grid in icons.items():
            yield of_grid
            atlas = stitch.step(config, images, layout, grids[size], of_grid)
            yield from (atlas, *deep_zoom.steps(config, atlas))
            # The viewer's: sheets of icons, and of the patches of real images nearest the cells' means.
            yield tiles.step(config, grids[size], of_grid)
            yield from examples.steps(config, images, grids[size])
            yield shares.step(config, images, layout, grids[size])
            yield from highlight.steps(config, grids[size], of_grid)
        coarsest_cells[layer], coarsest_icons[layer] = grids[min(grids)], icons[min(icons)]

    yield from vocabulary.steps(config, coarsest_cells, coarsest_icons)
