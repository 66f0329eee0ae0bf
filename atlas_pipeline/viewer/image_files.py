"""The viewer's files of whole images: small pictures, predicted classes, and sampled positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.viewer.layout_files import PLACE_GRID
from atlas_pipeline.viewer.scripts import PATCH_QUALITY, packed, picture, script
from atlas_pipeline.viewer.sprites import sheet

# The images shown whole are numbered by a uint16, and their pictures take 20 MB at most.
MAX_IMAGES = 4096
LARGEST_PX = 128
# Pictures along a side of a file.
_SIDE = 4
IMAGES_A_FILE = _SIDE**2
_PROBABILITY_STEPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledPlaces:
    """The activations of some images in one layer.

    Attributes: layer: its name. map_size: rows and columns of the feature map. slot: (activation,) number of
                the image among those shown. ordinal: (activation,) number of the sampled position in its
                image. row, col: (activation,) spatial position. xy: (activation, 2) place in the unit square,
                y up.
    """

    layer: str
    map_size: tuple[int, int]
    slot: NDArray[np.integer]
    ordinal: NDArray[np.integer]
    row: NDArray[np.integer]
    col: NDArray[np.integer]
    xy: NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImages:
    """The images that are shown whole.

    Attributes: image_id: (image,) ascending. keys: one per image. label: (image,), -1 for none. label_names:
                by label. predicted: (image,) class of the largest logit. probability: (image,) of that class.
                class_names: by class. is_right: (image,) 1 if the label stands for the predicted class, 0 if
                for another, -1 if that is not known.
    """

    image_id: NDArray[np.integer]
    keys: Sequence[str]
    label: NDArray[np.integer]
    label_names: Mapping[int, str]
    predicted: NDArray[np.integer]
    probability: NDArray[np.floating]
    class_names: Sequence[str]
    is_right: NDArray[np.integer]


def picture_px(image_px: int) -> int:
    """Side of a picture; even, because WebP stores colours for pairs of pixels."""
    px = min(image_px, LARGEST_PX)
    return max(2, px - px % 2)


def image_file(images: ShownImages, px: int, layers: Sequence[SampledPlaces]) -> bytes:
    """``images.js``: ids, keys, labels and predicted classes, and the activations by layer."""
    labels, label = _in_use(images.label)
    classes, predicted = _in_use(images.predicted)
    return script(
        {
            "px": px,
            "aFile": IMAGES_A_FILE,
            "imageId": packed(images.image_id.astype(np.uint32)),
            "key": list(images.keys),
            "label": packed(label.astype(np.int32)),
            "labels": labels,
            "labelNames": [images.label_names[one] for one in labels],
            "predicted": packed(predicted.astype(np.int32)),
            "classes": classes,
            "classNames": [images.class_names[one] for one in classes],
            "probability": packed(np.rint(images.probability * _PROBABILITY_STEPS).astype(np.uint16)),
            "isRight": packed(images.is_right.astype(np.int8)),
            "layers": [_layer(places) for places in layers],
        }
    )


def _in_use(values: NDArray[np.integer]) -> tuple[list[int], NDArray[np.integer]]:
    """The values in use, -1 left out, and the place of each value among them, -1 for -1."""
    used = np.unique(values[values >= 0])
    return used.tolist(), np.where(values < 0, -1, np.searchsorted(used, values))


def _layer(places: SampledPlaces) -> dict[str, Any]:
    y, x = cell_of(places.xy, PLACE_GRID).T
    columns = {"slot": places.slot, "ordinal": places.ordinal, "row": places.row, "col": places.col}
    return {
        "name": places.layer,
        "height": places.map_size[0],
        "width": places.map_size[1],
        **{name: packed(column.astype(np.uint16)) for name, column in {**columns, "x": x, "y": y}.items()},
    }


def picture_files(pictures: Iterable[NDArray[np.uint8]], px: int) -> dict[str, bytes]:
    """``pictures-0.js``, ...: sixteen pictures each, four by four.

    Args: pictures: (side, side, 3) uint8 each, in the order of the images; may be a generator.
    """
    files: dict[str, bytes] = {}
    held: list[NDArray[np.uint8]] = []

    def write() -> None:
        rows, cols = np.divmod(np.arange(len(held)), _SIDE)
        content = picture(sheet(np.stack(held), rows, cols, _SIDE), PATCH_QUALITY)
        files[f"pictures-{len(files)}.js"] = script(content)
        held.clear()

    for one in pictures:
        held.append(resized(one, px))
        if len(held) == IMAGES_A_FILE:
            write()
    if held:
        write()
    return files
