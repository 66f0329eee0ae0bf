"""A figure and what goes with it: `fig.pdf`, `fig.bib`, `fig-methods.md`."""

from __future__ import annotations

import json

from atlas_pipeline.engine.files import atomic_file
from atlas_pipeline.engine.place import Place
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.atlas_figure import draw_atlas
from atlas_pipeline.figure.bibliography import bibliography_of
from atlas_pipeline.figure.methods import methods_of
from atlas_pipeline.figure.page import FORMATS
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.figure.sheet import draw_sheet
from atlas_pipeline.reader.run import AtlasRun


def save_figure(run: AtlasRun, request: FigureRequest | SheetRequest, path: Place) -> list[Place]:
    """Draw a figure, and write it with its BibTeX and its methods paragraph.

    Returns: the files written, the figure first.
    Raises:  ConfigError: an unknown suffix; what the run does not have, or a place outside its map.
             ResourceError: it cannot be written.
    """
    check_suffix(path)
    page, (facts, *others), caption = (
        draw_atlas(run, request) if isinstance(request, FigureRequest) else draw_sheet(run, request)
    )
    provenance = {"atlas": facts.fingerprint, "software": facts.software, "weights": facts.weights}
    page.save(
        path,
        {
            "title": f"{facts.atlas.layer} {facts.atlas.view} {facts.atlas.grid}",
            "subject": caption,
            "creator": facts.software,
            "provenance": json.dumps(provenance, sort_keys=True),
        },
    )
    methods = methods_of(facts, others)
    texts = {
        path.with_suffix(".bib"): bibliography_of(facts, methods),
        path.with_name(f"{path.stem}-methods.md"): methods,
    }
    for beside, text in texts.items():
        with atomic_file(beside) as file:
            file.write(text.encode())
    return [path, *texts]


def check_suffix(path: Place) -> None:
    """Refuse a format that cannot be drawn.

    Raises: ConfigError.
    """
    if path.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{form}" for form in FORMATS)
        raise ConfigError(f"-o '{path}': its suffix '{path.suffix}' is none of {known}")
