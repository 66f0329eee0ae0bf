"""One picture: what a network sees in it, layer by layer (Olah et al., 2018, "The Building Blocks").

For each layer we take the picture's activations at every position, and the gradients of the logits there.
Each position lies on a cell of the layer's atlas, which gives it an icon, a name and real patches: a
dictionary made of data. Non-negative matrix factorisation finds groups of neurons that fire together.
"""

from collections.abc import Iterator
from itertools import pairwise

from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.images.given_pictures import find_pictures
from atlas_pipeline.stages.atlas import whiten
from atlas_pipeline.stages.given import (
    channel_spread,
    image_page,
    picture_between,
    picture_cells,
    picture_gradients,
    picture_groups,
    picture_icons,
    picture_map,
    picture_patches,
)
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.tables.given_settings import GivenSettings
from atlas_pipeline.view_atlas import layer_layouts, view_atlas
from atlas_pipeline.views.view import layer_view


def pipeline(config: Config) -> Iterator[Step]:
    # The layers' atlases, on which the pictures are placed.
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    layouts = layer_layouts(config, samples)
    atlases = {
        layer: view_atlas(config, layer_view(config), images, samples[layer], real_crops, layouts[layer])
        for layer in config.layers
    }
    spreads = {layer: channel_spread.step(samples[layer]) for layer in config.layers}
    finest = max(config.grid.sizes)

    found = find_pictures(config.image.pictures)
    for number, picture in enumerate(found.pictures):
        # The first page says what the command must say of all pictures.
        lines = tuple(found.lines()) if number == 0 else ()
        settings = GivenSettings(model=model_spec(config), picture=picture, lines=lines)
        by_role: dict[str, Step] = {}
        for layer in config.layers:
            cells, icons = atlases[layer].cells[finest], atlases[layer].icons[finest]
            activations = picture_map.step(config, layer, settings)
            places = picture_cells.step(activations, cells)
            groups = picture_groups.step(config, activations, settings)
            precision = whiten.step(samples[layer])
            by_role |= {
                f"map {layer}": activations,
                f"gradients {layer}": picture_gradients.step(config, layer, settings),
                f"spread {layer}": spreads[layer],
                f"bin {layer}": cells,
                f"invert {layer}": icons,
                f"cells {layer}": places,
                f"groups {layer}": groups,
                f"icons {layer}": picture_icons.step(
                    config, activations, groups, precision, real_crops, settings
                ),
            }
            for patches in picture_patches.steps(config, images, cells, places):
                by_role[f"patches {layer}"] = patches
        for earlier, later in pairwise(config.layers):
            by_role[f"between {later}"] = picture_between.step(config, earlier, later, settings)
        yield from by_role.values()
        yield image_page.step(config, settings, by_role)
