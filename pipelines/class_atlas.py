"""Class atlas: the activations that make the network predict one class (Carter et al., 2019).

We select the activations that matter to a class by their attribution to its logit, and lay out, average and
invert them on their own. The samples are shared with the layer atlas, so a new class only computes its view.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.sampling import crops, index, sample
from atlas_pipeline.view_atlas import view_atlas
from atlas_pipeline.views.view import class_views


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    real_crops = crops.step(config, images)
    yield from (images, *samples.values(), real_crops)

    for view in class_views(config):
        for layer in view.layers:
            yield from view_atlas(config, view, images, samples[layer], real_crops).steps
