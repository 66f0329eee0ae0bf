"""Tuning: families of units that are rotations of each other (Cammarata et al., 2020, "Curve Detectors").

Synthetic lines, curves and corners at every orientation are fed to all units of a layer. Units whose maps of
responses agree once they are rotated form a family; nobody has to name what they respond to. Real patches
that drive the family are rotated in turn, and show whether the tuning holds for them too.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.sampling import crops, index
from atlas_pipeline.stages.tuning import (
    tuning_families,
    tuning_figures,
    tuning_icons,
    tuning_patches,
    tuning_responses,
)
from atlas_pipeline.stages.units import unit_examples, unit_spread, unit_values


def pipeline(config: Config) -> Iterator[Step]:
    images, of_units = index.step(config), config.with_units_of_tuning()
    # The scale of each unit, and the photos that drive it most: the pass of `atlas units`.
    spreads = unit_spread.steps(of_units, images)
    examples = unit_examples.steps(unit_values.steps(of_units, images, spreads))
    responses = tuning_responses.steps(config, spreads)
    families = dict(tuning_families.steps(config, responses, spreads, examples))
    yield from (images, *spreads.values(), *examples.values(), *responses.values(), *families.values())
    patches = dict(tuning_patches.steps(config, images, spreads, examples, responses, families))
    real_crops = crops.step(config, images)
    icons = dict(tuning_icons.steps(config, images, spreads, families, patches, real_crops))
    yield from (*patches.values(), *icons.values())
    yield from dict(tuning_figures.steps(config, responses, families, patches, icons)).values()
