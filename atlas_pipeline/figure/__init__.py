"""Figures for print: one atlas with labels and loupes, or several on a sheet, as PDF, SVG or PNG.

>>> from pathlib import Path
>>> from atlas_pipeline.figure import FigureRequest, save_figure
>>> from atlas_pipeline.reader import open_run
>>> run = open_run("data/runs/quickstart")
>>> written = save_figure(run, FigureRequest(layer="mixed5", num_labels=8), Path("fig.pdf"))

Figures are drawn with matplotlib from the files of a finished run. Each figure comes with its BibTeX and a
paragraph for the methods section.
"""

from __future__ import annotations

from atlas_pipeline.lazy import lazy_names

__all__ = ["FigureRequest", "SheetRequest", "save_figure"]

__getattr__ = lazy_names(
    __name__, {"FigureRequest": "request", "SheetRequest": "request", "save_figure": "saving"}
)
