"""Saves a figure with its texts: `fig.pdf`, `fig.bib`, `fig-methods.md`.

The first line of each text says that this program wrote it. Text files without this line are never
overwritten.
"""

from __future__ import annotations

import json

from atlas_pipeline.engine.atomic_files import atomic_file
from atlas_pipeline.engine.location import Location, content_of
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.atlas_figure import draw_atlas
from atlas_pipeline.figure.bibliography import bibliography_of
from atlas_pipeline.figure.facts import Facts
from atlas_pipeline.figure.methods import methods_of
from atlas_pipeline.figure.page import FORMATS, own_style
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.figure.sheet import draw_sheet
from atlas_pipeline.reader.run import AtlasRun

_MARK = "made by atlas figure, which writes it anew"


def save_figure(run: AtlasRun, request: FigureRequest | SheetRequest, path: Location) -> list[Location]:
    """Draw a figure and write it with its BibTeX and its methods paragraph.

    Returns: the files written, the figure first.
    Raises:  ConfigError: unknown suffix; a text file of another origin would be replaced; the run lacks
             something that was requested; or a position is outside the map.
             ResourceError: a file cannot be written.

    >>> from pathlib import Path
    >>> from atlas_pipeline.reader import open_run
    >>> run = open_run("data/runs/quickstart")
    >>> [str(path) for path in save_figure(run, FigureRequest(layer="mixed5"), Path("fig.svg"))]
    ['fig.svg', 'fig.bib', 'fig-methods.md']
    """
    check_suffix(path)
    bibliography, paragraph = path.with_suffix(".bib"), path.with_name(f"{path.stem}-methods.md")
    for text_path in (bibliography, paragraph):
        _refuse_to_replace(text_path)
    with own_style():
        facts = _save_page(run, request, path)
    methods = methods_of(facts[0], facts[1:])
    texts = {
        bibliography: f"% {_MARK}\n{bibliography_of(facts[0], methods)}",
        paragraph: f"<!-- {_MARK} -->\n\n{methods}",
    }
    for text_path, text in texts.items():
        with atomic_file(text_path) as file:
            file.write(text.encode())
    return [path, *texts]


def _save_page(run: AtlasRun, request: FigureRequest | SheetRequest, path: Location) -> list[Facts]:
    """Draw and write the figure itself; returns the facts of its atlases."""
    page, facts, caption = (
        draw_atlas(run, request) if isinstance(request, FigureRequest) else draw_sheet(run, request)
    )
    first = facts[0]
    provenance = {"atlas": first.fingerprint, "software": first.software, "weights": first.weights}
    page.save(
        path,
        {
            "title": f"{first.atlas.layer} {first.atlas.view} {first.atlas.grid}",
            "subject": caption,
            "creator": first.software,
            "provenance": json.dumps(provenance, sort_keys=True),
        },
    )
    return facts


def _refuse_to_replace(text_path: Location) -> None:
    """Raises: ConfigError: a file with this name exists and was not written by atlas figure."""
    try:
        first_line = content_of(text_path).partition(b"\n")[0]
    except (FileNotFoundError, NotADirectoryError):
        return
    except IsADirectoryError:
        first_line = b""
    if _MARK.encode() not in first_line:
        raise ConfigError(
            f"'{text_path}' would be replaced, but atlas figure did not write it; move it, or use another -o"
        )


def check_suffix(path: Location) -> None:
    """Raises: ConfigError: the suffix is not a format that can be drawn."""
    if path.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{form}" for form in FORMATS)
        raise ConfigError(f"-o '{path}': its suffix '{path.suffix}' is none of {known}")
