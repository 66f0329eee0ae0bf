"""Layer atlas: one map of everything a layer responds to (Carter et al., 2019, "Activation Atlas").

From every image we take activations at random spatial positions, with their attribution to every logit. UMAP
lays the activations of a layer out in the plane. We draw a grid over the layout, average the activations of
each cell, and turn each mean into an icon by feature inversion.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.figures import highlight, vocabulary
from atlas_pipeline.stages.pages import keys, whole_images
from atlas_pipeline.stages.sampling import crops, index, predictions, sample
from atlas_pipeline.view_atlas import layer_layouts, view_atlas
from atlas_pipeline.views.view import layer_view


def pipeline(config: Config) -> Iterator[Step]:
    # One pass over the images serves all layers.
    images = index.step(config)
    if predicted := predictions.step(config, images):
        yield predicted
    samples = sample.steps(config, images)
    # Real images at the icons' size are the reference for legibility.
    real_crops = crops.step(config, images)
    # The viewer's search uses the keys of the images.
    yield from (images, *samples.values(), keys.step(config, images), real_crops)

    view, layouts = layer_view(config), layer_layouts(config, samples)
    cells, members, coarsest_cells, coarsest_icons = {}, {}, {}, {}
    for layer in view.layers:
        atlas = view_atlas(config, view, images, samples[layer], real_crops, layouts[layer])
        yield from atlas.steps
        for size, icons in atlas.icons.items():
            yield from highlight.steps(config, atlas.cells[size], icons)
        coarsest = min(atlas.icons)
        coarsest_cells[layer], coarsest_icons[layer] = atlas.cells[coarsest], atlas.icons[coarsest]
        cells[layer], members[layer] = atlas.cells, atlas.members

    yield from vocabulary.steps(config, coarsest_cells, coarsest_icons)
    # The viewer follows an image from layer to layer.
    yield from whole_images.steps(config, images, layouts, cells, members)
