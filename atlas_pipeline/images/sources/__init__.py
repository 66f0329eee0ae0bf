"""The sources of images, by their names in ``images.source``: the only list of them.

A new source is one module here, which ends with an ``ImageSource``, and one line below. No NumPy or pyarrow
at import.
"""

from __future__ import annotations

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.image_source import ImageSource
from atlas_pipeline.images.sources.folder import FOLDER
from atlas_pipeline.images.sources.generated import GENERATED
from atlas_pipeline.images.sources.parquet import PARQUET
from atlas_pipeline.images.sources.tar import TAR

SOURCES: dict[str, ImageSource] = {
    source.name: source
    for source in (
        GENERATED,
        FOLDER,
        PARQUET,
        TAR,
    )
}


def source_of(name: str) -> ImageSource:
    """The source named in a config.

    Raises: ImagesError: no such source.
    """
    if name not in SOURCES:
        raise ImagesError(f"images.source '{name}' is not one of {', '.join(SOURCES)}")
    return SOURCES[name]
