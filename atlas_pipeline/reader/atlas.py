"""One atlas of a run: its cells as a frame, its picture, single icons."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.measures.table import MEASURES
from atlas_pipeline.numerics.grid import cell_centre
from atlas_pipeline.numerics.mosaic import icon_sides
from atlas_pipeline.reader.file_names import RunFiles

if TYPE_CHECKING:
    import pandas as pd


ViewKind = Literal["all", "class", "comparison"]
# Cells follow it, one a line: see `document.atlas_json`.
_CELLS = b'"cells":['


def head_of(document: bytes) -> dict[str, Any]:
    """An atlas's JSON document without its cells, of which there may be a hundred thousand."""
    head, cells, _ = document.partition(_CELLS)
    if not cells:
        return json.loads(document)
    return json.loads(head.rstrip().removesuffix(b",") + b"}")


def kind_of(document: Mapping[str, Any]) -> ViewKind:
    """The kind of view that an atlas shows, by how its activations were selected."""
    selection = document.get("selection")
    if not selection:
        return "all"
    return "class" if "class" in selection else "comparison"


class Atlas:
    """One layer, one view, one grid. What it is asked for is read then and kept, but for ``reduced``.

    Attributes: layer, view, grid: which one it is. icon_px: side of a cell in the picture, pixels.
                num_activations: in its layout. document: the whole JSON, see docs/artefacts.md.
    """

    def __init__(self, files: RunFiles, name: str) -> None:
        """name: of the JSON document within the run's folder, without its suffix."""
        self._files, self._name = files, name
        self.document: dict[str, Any] = json.loads(files.read(f"{name}.json"))
        self.layer, self.view = str(self.document["layer"]), str(self.document["view"])
        self.grid, self.icon_px = int(self.document["grid"]), int(self.document["icon_px"])
        self.num_activations = int(self.document["num_activations"])

    def __repr__(self) -> str:
        cells = f"{len(self.document['cells'])} cells"
        return f"Atlas({self.layer!r}, view={self.view!r}, grid={self.grid}: {cells})"

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Fingerprints and configs of everything that it was made from; where the weights come from."""
        return self.document["provenance"]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell that has an icon, in the JSON's order and with its columns.

        Beside these: ``x`` and ``y`` of the cell's centre in the layout (in [0, 1], y up), and the
        ``class_index``, ``label`` and ``attribution`` of the class that the cell speaks for most (-1,
        None and NaN where there are no attributions). ``classes`` and ``examples`` hold lists of dicts.
        """
        import pandas as pd

        cells = pd.DataFrame(self.document["cells"], columns=None if self.document["cells"] else _COLUMNS)
        centre = cell_centre(cells[["row", "col"]].to_numpy(dtype=np.int64), self.grid)
        best = [classes[0] if classes else _NO_CLASS for classes in cells["classes"]]
        return cells.assign(
            x=centre[:, 0],
            y=centre[:, 1],
            class_index=np.array([of["index"] for of in best], dtype=np.int64),
            label=pd.Series([of["label"] for of in best], dtype=object),
            attribution=np.array([of["attribution"] for of in best], dtype=np.float64),
        )

    @cached_property
    def image(self) -> Image.Image:
        """The atlas without legend or caption: RGB, ``grid * icon_px`` a side."""
        return _square(self._picture())

    def reduced(self, side_px: int) -> Image.Image:
        """The same no wider than ``side_px``, read anew and not kept: of a large one its preview may do."""
        try:
            preview = _png(self._files.read(f"{self._name}-preview.png"))
        except KeyError:
            preview = None
        square = _square(self._picture() if preview is None or preview.width < side_px else preview)
        if square.width <= side_px:
            return square
        return square.resize((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=3.0)

    def icon(self, row: int, col: int) -> Image.Image:
        """The icon of a cell as it is in the picture, without the margin around it.

        Raises: KeyError: the cell has no icon.
        """
        if (row, col) not in self._boxes:
            raise KeyError(f"cell ({row}, {col}) of {self!r} has no icon")
        return self.image.crop(self._boxes[row, col])

    def _picture(self) -> Image.Image:
        try:
            return _png(self._files.read(f"{self._name}.png"))
        except KeyError:
            raise ConfigError(f"{self._name}.png is missing beside its JSON; run atlas run again") from None

    @cached_property
    def _boxes(self) -> dict[tuple[int, int], tuple[int, int, int, int]]:
        """Cell -> left, top, right, bottom of its icon in the picture, pixels."""
        cells, px = self.cells, self.icon_px
        by_count = self.provenance.get("config", {}).get("scale", "density") == "density"
        sides = icon_sides(cells["count"], px) if by_count else np.full(len(cells), px)
        boxes = {}
        for row, col, side in zip(cells["row"].tolist(), cells["col"].tolist(), sides.tolist(), strict=True):
            left, top = col * px + (px - side) // 2, row * px + (px - side) // 2
            boxes[row, col] = (left, top, left + side, top + side)
        return boxes


def _png(content: bytes) -> Image.Image:
    # Not Image.open: it takes a picture of ours beyond 179 million pixels for an attack.
    return PngImageFile(io.BytesIO(content))


def _square(picture: Image.Image) -> Image.Image:
    """The atlas without what stands below it, as RGB."""
    side = picture.width
    if picture.height != side:
        # Not crop, which refuses what Image.open does. Whole pixels onto whole pixels: nothing is resampled.
        picture = picture.transform((side, side), Image.Transform.EXTENT, (0, 0, side, side))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


_NO_CLASS = {"index": -1, "label": None, "attribution": float("nan")}
_MEASURES = [measure.name for measure in MEASURES if measure.is_required]
_COLUMNS = ["row", "col", "count", *_MEASURES, "classes", "examples"]
