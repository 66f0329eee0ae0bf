"""Dreams: what a layer sees everywhere at once (Mordvintsev et al., 2015; Olah et al., 2017).

A picture, or noise, is changed until the layer finds more of everything in it (DeepDream), or more of what it
found in the picture (a caricature). It needs the network alone: no image of the run is read.
"""

from collections.abc import Iterator

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.dreams import dream


def pipeline(config: Config) -> Iterator[Step]:
    yield from dream.steps(config)
