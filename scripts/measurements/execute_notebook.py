"""Execute docs/notebook.ipynb in a folder, and write it back with its outputs.

    python -m scripts.measurements.execute_notebook FOLDER

A finished run of the quickstart in FOLDER/data is used; otherwise it is made there. The output of the viewer,
megabytes that few pages of a repository show, is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
_CONFIG = 'load_config("quickstart")'


def executed(folder: Path, overrides: Sequence[str] = ()) -> nbformat.NotebookNode:
    """The notebook with its outputs.

    Args:   folder: the notebook's working directory. overrides: of its config, as ``--set`` takes them.
    Raises: CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    first = next(cell for cell in notebook.cells if _CONFIG in cell.source)
    if overrides:
        first.source = first.source.replace(_CONFIG, f'load_config("quickstart", {list(overrides)})')
    client = NotebookClient(
        notebook, timeout=3600, startup_timeout=600, resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def without_viewer(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without the outputs of viewers and the times of execution."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            if "<iframe" in output.get("data", {}).get("text/html", ""):
                del output["data"]["text/html"]
    return notebook


if __name__ == "__main__":
    nbformat.write(without_viewer(executed(Path(sys.argv[1]))), NOTEBOOK)
