"""One cell of an atlas: its icon, the real patches nearest its mean, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import pandas as pd

    from atlas_pipeline.reader.atlas import Atlas


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell; a notebook shows it as a picture with its numbers.

    Attributes: layer, view, grid, row, col: identify it. numbers: its row of ``Atlas.cells``. icon: as in the
                picture of the atlas. patches: real patches nearest its mean, three by three, the nearest
                first; None if the run's page does not have them.
    """

    layer: str
    view: str
    grid: int
    row: int
    col: int
    numbers: pd.Series
    icon: Image.Image
    patches: Image.Image | None

    def __repr__(self) -> str:
        return f"Cell({self.layer!r}, view={self.view!r}, grid={self.grid}, row={self.row}, col={self.col})"

    def _repr_html_(self) -> str:
        from atlas_pipeline.reader.notebook import cell_html

        return cell_html(self)


class Gallery:
    """Some cells of an atlas, in an order of your own; a notebook shows their icons and real patches."""

    def __init__(self, atlas: Atlas, cells: pd.DataFrame) -> None:
        self._atlas = atlas
        self._places = list(zip(cells["row"].tolist(), cells["col"].tolist(), strict=True))

    def __repr__(self) -> str:
        return f"Gallery({len(self)} cells of {self._atlas!r})"

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Cell:
        return self._atlas.cell(*self._places[number])

    def _repr_html_(self) -> str:
        from atlas_pipeline.reader.notebook import gallery_html

        return gallery_html(self)
