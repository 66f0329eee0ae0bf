"""Real patches of units and atoms: cut out of the images around their examples, and named on their pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atlas_pipeline.config.run_settings import RunSettings
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Runtime
from atlas_pipeline.models.network_cache import receptive_field_of
from atlas_pipeline.numerics.crop_window import crop_window
from atlas_pipeline.numerics.unit_state import UnitState
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.tables.chosen_images import batches_of
from atlas_pipeline.tables.columns import column_matrix, matrix_column
from atlas_pipeline.tables.image_keys import keys_of, shown_key
from atlas_pipeline.viewer.scripts import PATCH_QUALITY, webp
from atlas_pipeline.viewer.unit_files import SHEET_COLUMNS, base64_of, in_rows, unit_examples
from atlas_pipeline.views.class_names import names_of_labels

IMAGES_AT_ONCE = 256
LARGEST_PATCH_PX = 72
SHEET_TABLE_COLUMNS = (Column("sheet", pa.binary()), Column("marks", Vector((pa.float32(),), "example")))


def patch_sheets(
    index: Artefact,
    examples: pa.Table,
    layer: str,
    size_px: int,
    settings: RunSettings,
    runtime: Runtime,
) -> tuple[dict[str, Any], dict[str, int]]:
    """The patches of some units' examples, a sheet for each unit.

    Args:    examples: with the columns of the examples, see `numerics.unit_state`. size_px: largest side of a
             patch in the image; a patch is never larger than the layer's receptive field.
    Returns: the columns ``sheet`` (WebP: the top, then the ranges from the lowest) and ``marks`` (position in
             each patch: down, right, as shares of its side); and the notes ``px`` and ``side_px``.
    """
    images, places = (
        np.concatenate([column_matrix(examples, f"{kind}_{what}") for kind in ("top", "range")], axis=1)
        for what in ("image", "place")
    )
    field = receptive_field_of(settings.model, layer, runtime.device)
    side = min(size_px, field.field_px)
    px = min(side, LARGEST_PATCH_PX)
    px += px % 2
    patches = np.full((*images.shape, px, px, 3), PAPER, np.uint8)
    marks = np.zeros((*images.shape, 2), np.float32)
    wanted: dict[int, list[tuple[int, int]]] = {}
    for unit, slot in zip(*np.nonzero(images >= 0), strict=True):
        wanted.setdefault(int(images[unit, slot]), []).append((unit, slot))
    batches = batches_of(
        index,
        list(wanted),
        settings,
        runtime.device,
        batch_size=IMAGES_AT_ONCE,
        num_workers=runtime.workers or 0,
    )
    with closing(batches):
        for batch in batches:
            for image_id, image in zip(batch.image_id.tolist(), batch.images, strict=True):
                for unit, slot in wanted[image_id]:
                    position = divmod(int(places[unit, slot]), field.map_size[1])
                    top, left = crop_window(position, field.map_size, side, field.image_px)
                    patches[unit, slot] = _cut(image[:, top : top + side, left : left + side], px)
                    centre = (np.array(position) + 0.5) / field.map_size * field.image_px
                    marks[unit, slot] = (centre - (top, left)) / side
    sheets = [webp(in_rows(of_unit, SHEET_COLUMNS), PATCH_QUALITY) for of_unit in patches]
    columns = {
        "sheet": pa.array(sheets, pa.binary()),
        "marks": matrix_column(marks.reshape(len(marks), -1)),
    }
    return columns, {"px": px, "side_px": side}


def _cut(square: Any, px: int) -> np.ndarray:
    """A square of an image, (3, side, side) uint8 tensor, as (px, px, 3) uint8."""
    from torch.nn.functional import interpolate

    cut = square.float()
    if cut.shape[-1] != px:
        cut = interpolate(cut[None], size=px, mode="bilinear", antialias=True)[0]
    return cut.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


class NamedPatches:
    """The patches of units for their pages, with the image and the label that each comes from.

    Args: known: the state of all units. units: those of the rows. rows: sheets and marks, a row a unit.
          notes: of `patch_sheets`.
    """

    def __init__(
        self,
        index: Artefact,
        known: UnitState,
        units: Sequence[int],
        rows: pa.Table,
        notes: Mapping[str, Any],
        settings: RunSettings,
    ) -> None:
        self._known, self._notes = known, notes
        self._sheets = dict(zip(units, rows["sheet"].to_pylist(), strict=True))
        marks: NDArray[np.float32] = column_matrix(rows, "marks").reshape(rows.num_rows, -1, 2)
        self._marks = dict(zip(units, marks, strict=True))
        images = (known.top_image[list(units)], known.range_image[list(units)])
        ids = sorted({int(one) for found in images for one in np.unique(found) if one >= 0})
        keys = keys_of(index, ids)
        labels = index.read(["label"])["label"].take(pa.array(ids, pa.int64())).to_pylist()
        names = names_of_labels(settings, max(labels, default=-1)) or ()
        self._origin = {
            one: (shown_key(keys[one]), _label(label, names)) for one, label in zip(ids, labels, strict=True)
        }

    def of(self, unit: int) -> dict[str, Any]:
        """The sheet of a unit's page, and its examples, see `unit_examples`."""
        return {
            "px": self._notes["px"],
            "side": self._notes["side_px"],
            "columns": SHEET_COLUMNS,
            "picture": base64_of(self._sheets[unit]),
            **unit_examples(self._known, unit, self._marks[unit], self._origin),
        }


def _label(label: int, names: Sequence[str]) -> str:
    return "" if label < 0 else str(names[label]) if names else f"label {label}"
