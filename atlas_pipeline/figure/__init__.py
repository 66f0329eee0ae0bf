"""Figures for print: one atlas with labels and loupes, or many on a sheet, as PDF, SVG or PNG.

    run = open_run("data/runs/quickstart")
    save_figure(run, FigureRequest(layer="mixed5", num_labels=8), Path("fig.pdf"))

Drawn with matplotlib, from the files of a finished run alone; beside the figure its BibTeX and a paragraph
for the methods section.
"""

from __future__ import annotations

from atlas_pipeline.lazy import lazy_names

__all__ = ["FigureRequest", "SheetRequest", "save_figure"]

__getattr__ = lazy_names(
    __name__, {"FigureRequest": "request", "SheetRequest": "request", "save_figure": "saving"}
)
