"""One atlas of a run: its cells as a frame, its picture, and single icons."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.measures.table import MEASURES
from atlas_pipeline.numerics.grid import cell_centre
from atlas_pipeline.numerics.mosaic import icon_sides
from atlas_pipeline.reader.cell import Cell, Gallery
from atlas_pipeline.reader.file_names import RunFiles
from atlas_pipeline.reader.viewer_values import viewer_value

if TYPE_CHECKING:
    import pandas as pd

    from atlas_pipeline.reader.inline_viewer import InlineViewer


ViewKind = Literal["all", "class", "comparison"]
# Cells follow it, one a line: see `document.atlas_json`.
_CELLS = b'"cells":['
# Cells along a side of a block of patches, as `viewer.sprites` writes them.
_BLOCK = 4


def head_of(files: RunFiles, name: str) -> dict[str, Any]:
    """An atlas's JSON document without its cells, of which there may be a hundred thousand."""
    head = files.read_until(name, _CELLS).rstrip()
    # A document without cells on lines of their own is read as a whole.
    return json.loads(head.removesuffix(b",") + b"}" if head.endswith(b",") else head)


def kind_of(document: Mapping[str, Any]) -> ViewKind:
    """The kind of view that an atlas shows, by how its activations were selected."""
    selection = document.get("selection")
    if not selection:
        return "all"
    return "class" if "class" in selection else "comparison"


class Atlas:
    """The atlas of one layer, view and grid. Data is read on first use and kept, except by ``reduced``.

    Attributes: layer, view, grid: identify the atlas. icon_px: side of a cell in the picture, pixels.
                num_activations: number of activations in its layout. document: the whole JSON, see
                docs/artefacts.md.

    >>> from atlas_pipeline.reader import open_run
    >>> atlas = open_run("data/runs/quickstart").atlas("mixed5")
    >>> atlas.image.size  # 20 cells of 8 px
    (160, 160)
    >>> row, col = atlas.cells[["row", "col"]].iloc[0]
    >>> atlas.icon(row, col).mode
    'RGB'
    """

    def __init__(self, files: RunFiles, name: str) -> None:
        """name: name of the JSON document inside the run's folder, without its suffix."""
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
        """Fingerprints and configs of all artefacts behind the atlas, and the origin of the weights."""
        return self.document["provenance"]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell that has an icon, in the JSON's order and with its columns.

        Additional columns: ``x`` and ``y`` of the cell's centre in the layout (in [0, 1], y up);
        ``class_index``, ``label`` and ``attribution`` of the class with the highest mean attribution (-1,
        None and NaN without attributions). ``classes`` and ``examples`` hold lists of dicts.
        """
        import pandas as pd

        cells = pd.DataFrame(self.document["cells"], columns=None if self.document["cells"] else _COLUMNS)
        centre = cell_centre(cells[["row", "col"]].to_numpy(dtype=np.int64), self.grid)
        best = [classes[0] if classes else _NO_CLASS for classes in cells["classes"]]
        return cells.assign(
            x=centre[:, 0],
            y=centre[:, 1],
            class_index=np.array([top_class["index"] for top_class in best], dtype=np.int64),
            label=pd.Series([top_class["label"] for top_class in best], dtype=object),
            attribution=np.array([top_class["attribution"] for top_class in best], dtype=np.float64),
        )

    @cached_property
    def image(self) -> Image.Image:
        """The atlas without legend or caption: RGB, ``grid * icon_px`` pixels per side."""
        return _square(self._picture())

    def reduced(self, side_px: int) -> Image.Image:
        """The atlas at most ``side_px`` wide, not kept in memory; uses the preview if it is large enough."""
        try:
            preview = _png(self._files.read(f"{self._name}-preview.png"))
        except KeyError:
            preview = None
        square = _square(self._picture() if preview is None or preview.width < side_px else preview)
        if square.width <= side_px:
            return square
        return square.resize((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=3.0)

    def icon(self, row: int, col: int) -> Image.Image:
        """The icon of a cell as it appears in the picture, without the margin around it.

        Raises: KeyError: the cell has no icon.
        """
        return self.image.crop(self._box(row, col))

    def patches(self, row: int, col: int) -> Image.Image | None:
        """Real patches nearest a cell's mean, three by three, the nearest first; None if the page has none.

        Raises: KeyError: the cell has no icon.
        """
        self._box(row, col)
        try:
            block = viewer_value(self._files, f"{self._tiles}/block-{row // _BLOCK}-{col // _BLOCK}.js")
        except KeyError:
            return None
        side = 3 * block["px"]
        left, top = col % _BLOCK * side, row % _BLOCK * side
        picture = Image.open(io.BytesIO(base64.b64decode(block["picture"])))
        return picture.convert("RGB").crop((left, top, left + side, top + side))

    def cell(self, row: int, col: int) -> Cell:
        """A cell with its icon, patches and numbers. Raises: KeyError: the cell has no icon."""
        self._box(row, col)
        is_asked = (self.cells["row"] == row) & (self.cells["col"] == col)
        return Cell(
            layer=self.layer,
            view=self.view,
            grid=self.grid,
            row=row,
            col=col,
            numbers=self.cells[is_asked].iloc[0],
            icon=self.icon(row, col),
            patches=self.patches(row, col),
        )

    def gallery(self, cells: pd.DataFrame) -> Gallery:
        """Some rows of ``cells`` as pictures, in their order.

        >>> from atlas_pipeline.reader import open_run
        >>> atlas = open_run("data/runs/quickstart").atlas("mixed5")
        >>> atlas.gallery(atlas.cells.nlargest(5, "fidelity"))[0].patches is None
        True
        """
        return Gallery(self, cells)

    def means(self) -> NDArray[np.float32]:
        """The mean activation of each cell: (cell, channel), in the order of ``cells``.

        Raises: MissingInputError: the run is an archive, or the workspace's cache no longer has the means.
        """
        from atlas_pipeline.reader.cached import read_means

        return read_means(self._files, self.provenance["inputs"], "activation", self.cells)[0]

    def attributions(self) -> pd.DataFrame:
        """The mean attribution of each cell to every class, logits: rows as in ``cells``, a column a class.

        Columns are the classes' names; a name that several classes have is followed by the class index.

        Raises: MissingInputError: see ``means``; or the run has no attributions.
        """
        import pandas as pd

        from atlas_pipeline.reader.cached import read_means

        inputs = self.provenance["inputs"]
        values, artefact = read_means(self._files, inputs, "attribution", self.cells)
        indices = artefact.notes["classes"]
        try:
            names = viewer_value(self._files, f"{self._tiles}/grid.js")["classes"]
        except KeyError:
            names = [f"class {index}" for index in indices]
        repeated = {name for name, times in Counter(names).items() if times > 1}
        titles = [
            f"{name} ({index})" if name in repeated else name
            for name, index in zip(names, indices, strict=True)
        ]
        return pd.DataFrame(values, index=self.cells.index, columns=titles)

    def show(self, height_px: int = 640, max_mb: float = 50) -> InlineViewer:
        """The viewer of this layer and view inside a notebook; see ``AtlasRun.show``."""
        from atlas_pipeline.reader.inline_viewer import InlineViewer

        only = (self.layer, self.view)
        return InlineViewer(self._files, height_px=height_px, max_mb=max_mb, only=only)

    def _repr_html_(self) -> str:
        from atlas_pipeline.reader.notebook import atlas_html

        return atlas_html(self)

    @property
    def _folder(self) -> str:
        return self._name.rpartition("/")[0]

    @property
    def _tiles(self) -> str:
        """The folder of the viewer's files for the grid."""
        return f"{self._folder}/tiles-{self.grid}"

    def _picture(self) -> Image.Image:
        return picture_of(self._files, f"{self._name}.png")

    def _box(self, row: int, col: int) -> tuple[int, int, int, int]:
        if (row, col) not in self._boxes:
            raise KeyError(f"cell ({row}, {col}) of {self!r} has no icon")
        return self._boxes[row, col]

    @cached_property
    def _boxes(self) -> dict[tuple[int, int], tuple[int, int, int, int]]:
        """For each cell, the left, top, right and bottom of its icon in the picture, pixels."""
        cells, px = self.cells, self.icon_px
        by_count = self.provenance.get("config", {}).get("scale", "density") == "density"
        sides = icon_sides(cells["count"], px) if by_count else np.full(len(cells), px)
        boxes = {}
        for row, col, side in zip(cells["row"].tolist(), cells["col"].tolist(), sides.tolist(), strict=True):
            left, top = col * px + (px - side) // 2, row * px + (px - side) // 2
            boxes[row, col] = (left, top, left + side, top + side)
        return boxes


def picture_of(files: RunFiles, name: str) -> Image.Image:
    """A PNG of the run. Raises: ConfigError: it is missing."""
    try:
        return _png(files.read(name))
    except KeyError:
        raise ConfigError(f"{name} is missing in the run's folder; run atlas run again") from None


def _png(content: bytes) -> Image.Image:
    # Not Image.open: it rejects pictures above 179 million pixels as a decompression bomb.
    return PngImageFile(io.BytesIO(content))


def _square(picture: Image.Image) -> Image.Image:
    """The picture without anything below the atlas, as RGB."""
    side = picture.width
    if picture.height != side:
        # Not crop: it has the limit of Image.open. The transform maps whole pixels, so nothing is resampled.
        picture = picture.transform((side, side), Image.Transform.EXTENT, (0, 0, side, side))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


_NO_CLASS = {"index": -1, "label": None, "attribution": float("nan")}
_MEASURES = [measure.name for measure in MEASURES if measure.is_required]
_COLUMNS = ["row", "col", "count", *_MEASURES, "classes", "examples"]
