"""Class comparison: the activations that tell two classes apart (Carter et al., 2019).

We select the activations with the highest attribution to either class. The difference of an activation's two
attributions gives its x; along y similar activations lie close together.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.patch_test import steps as patch_test
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.view_atlas import layer_layouts, view_atlas
from atlas_pipeline.views.view import comparison_views, layer_view


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    yield from (images, *samples.values(), real_crops)

    layouts = layer_layouts(config, samples)
    for view in comparison_views(config):
        for layer in view.layers:
            atlas = view_atlas(config, view, images, samples[layer], real_crops)
            yield from atlas.steps
            if view.patch_test:
                # Icons of the layer's whole atlas are the control of the patch test.
                whole = view_atlas(
                    config, layer_view(config), images, samples[layer], real_crops, layouts[layer]
                )
                yield from patch_test.steps(config, view, images, atlas, whole)
