"""Units: what each channel of a layer responds to, over its whole range (Olah et al., 2020, "Circuits").

One pass over the images keeps, for every unit of every layer, a histogram of its values and examples from its
whole range. People predict a unit better from real patches than from synthetic pictures (Borowski et al.,
2021), so patches stand beside the icons. Weights multiplied out between blocks say what a unit is built from.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.stages.units import (
    unit_cells,
    unit_classes,
    unit_ends,
    unit_examples,
    unit_icons,
    unit_pages,
    unit_patches,
    unit_spread,
    unit_values,
    unit_weights,
)
from atlas_pipeline.tables.chosen_units import page_layers
from atlas_pipeline.view_atlas import layer_layouts, view_atlas
from atlas_pipeline.views.view import layer_view


def pipeline(config: Config) -> Iterator[Step]:
    images, layers = index.step(config), page_layers(config)
    # A first look at a part of the images gives the scale; then one pass over all of them serves all layers.
    spreads = unit_spread.steps(config, images)
    values = unit_values.steps(config, images, spreads)
    examples = unit_examples.steps(values)
    yield from (images, *spreads.values(), *values.values(), *examples.values())

    real_crops = crops.step(config, images)
    of_layers = {layer: examples[layer] for layer in layers}
    patches = dict(unit_patches.steps(config, images, of_layers))
    classes = dict(unit_classes.steps(config, images, of_layers))
    weights = dict(unit_weights.steps(config, layers))
    icons = dict(unit_icons.steps(config, {layer: spreads[layer] for layer in layers}, real_crops))
    ends = dict(unit_ends.steps(config, weights, icons))
    for layer in layers:
        known = {
            "spread": spreads[layer],
            "examples": examples[layer],
            "patches": patches.get(layer),
            "icons": icons.get(layer),
            "classes": classes.get(layer),
            "weights": weights.get(layer),
            "ends": ends.get(layer),
        }
        yield from (step for step in known.values() if step is not None)
        yield unit_pages.step(config, images, layer, known)

    # Where the run has an atlas of the layer, its cells and the units name each other.
    samples, view = sample.steps(config, images), layer_view(config)
    layouts = layer_layouts(config, samples)
    for layer in layers:
        if layer in config.layers:
            atlas = view_atlas(config, view, images, samples[layer], real_crops, layouts[layer])
            yield unit_cells.step(config, layer, atlas.cells, atlas.icons)
