"""Images drawn by this program: no files, no end, each a pure function of the seed and its number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.digest import text_digest
from atlas_pipeline.images.image_source import ImagesLocation, ImageSource
from atlas_pipeline.images.left_out import LeftOut

if TYPE_CHECKING:
    import numpy as np

    from atlas_pipeline.images.index_table import Listing


def _listing(place: ImagesLocation, num_images: int | None, seed: int) -> Listing:
    from atlas_pipeline.images.generated import VERSION, label
    from atlas_pipeline.images.index_table import Listing, index_table

    if num_images is None:
        raise ImagesError("generated images have no end; set images.num_images")
    index = range(num_images)
    images = index_table(
        key=[str(i) for i in index],
        label=[label(seed, i) for i in index],
        file=[""] * num_images,
        row=list(index),
        digest=[text_digest(f"{VERSION}:{seed}:{i}") for i in index],
    )
    return Listing(images, num_images, LeftOut())


def _stamp(place: ImagesLocation) -> str:
    from atlas_pipeline.images.generated import VERSION

    return f"generated-{VERSION}"


def _class_names(place: ImagesLocation) -> list[str]:
    from atlas_pipeline.images.generated import CLASS_NAMES

    return list(CLASS_NAMES)


@dataclass(frozen=True, slots=True)
class _Reader:
    seed: int

    def read(self, file: str, row: int) -> np.ndarray:
        from atlas_pipeline.images.generated import image

        return image(self.seed, row)[0]


GENERATED = ImageSource(
    name="generated",
    title="generated images",
    listing=_listing,
    stamp=_stamp,
    reader=lambda place, seed: _Reader(seed),
    class_names=_class_names,
    takes_path=False,
    num_images=20_000,
)
