"""A figure and what goes with it: `fig.pdf`, `fig.bib`, `fig-methods.md`.

The two texts say in their first line that they are ours: no figure of that name replaces any others.
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
    """Draw a figure, and write it with its BibTeX and its methods paragraph.

    Returns: the files written, the figure first.
    Raises:  ConfigError: an unknown suffix; a text of somebody else's in the way; what the run does not have,
             or a place outside its map.
             ResourceError: it cannot be written.
    """
    check_suffix(path)
    bibliography, paragraph = path.with_suffix(".bib"), path.with_name(f"{path.stem}-methods.md")
    for beside in (bibliography, paragraph):
        _refuse_to_replace(beside)
    with own_style():
        facts = _save_page(run, request, path)
    methods = methods_of(facts[0], facts[1:])
    texts = {
        bibliography: f"% {_MARK}\n{bibliography_of(facts[0], methods)}",
        paragraph: f"<!-- {_MARK} -->\n\n{methods}",
    }
    for beside, text in texts.items():
        with atomic_file(beside) as file:
            file.write(text.encode())
    return [path, *texts]


def _save_page(run: AtlasRun, request: FigureRequest | SheetRequest, path: Location) -> list[Facts]:
    """Draw and write the figure itself; the facts of its atlases."""
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


def _refuse_to_replace(beside: Location) -> None:
    """Raises: ConfigError: there is a file of that name, and it is not a figure's."""
    try:
        first_line = content_of(beside).partition(b"\n")[0]
    except (FileNotFoundError, NotADirectoryError):
        return
    except IsADirectoryError:
        first_line = b""
    if _MARK.encode() not in first_line:
        raise ConfigError(
            f"'{beside}' would be replaced, and is not of atlas figure: move it, or choose another name (-o)"
        )


def check_suffix(path: Location) -> None:
    """Refuse a format that cannot be drawn.

    Raises: ConfigError.
    """
    if path.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{form}" for form in FORMATS)
        raise ConfigError(f"-o '{path}': its suffix '{path.suffix}' is none of {known}")
