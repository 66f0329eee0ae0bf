"""The sources of networks, by their names in ``model.source``: the only list of them.

A new source is one module here, which ends with a ``ModelSource``, and one line below. No torch at import.
"""

from __future__ import annotations

from atlas_pipeline.errors import ModelError, unknown_name
from atlas_pipeline.models.model_source import ModelSource
from atlas_pipeline.models.sources.demo import DEMO
from atlas_pipeline.models.sources.inception_v1 import INCEPTION_V1
from atlas_pipeline.models.sources.python import PYTHON
from atlas_pipeline.models.sources.timm import TIMM
from atlas_pipeline.models.sources.torchvision import TORCHVISION

SOURCES: dict[str, ModelSource] = {
    source.name: source
    for source in (
        DEMO,
        INCEPTION_V1,
        TORCHVISION,
        TIMM,
        PYTHON,
    )
}


def source_of(name: str) -> ModelSource:
    """The source named in a config or a spec.

    Raises: ModelError: no such source; the message gives the nearest name.
    """
    if name not in SOURCES:
        raise ModelError(unknown_name("model source", name, SOURCES, "this program"))
    return SOURCES[name]
