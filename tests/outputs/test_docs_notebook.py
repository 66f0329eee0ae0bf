"""The notebook of the docs runs from top to bottom."""

import pytest


@pytest.mark.extended
def test_the_notebook_of_the_docs_runs_and_shows_what_it_speaks_of(tmp_path):
    from scripts.measurements.execute_notebook import executed

    smaller = ["images.num_images=2000", "layers=[mixed5]", "grid.sizes=[8]", "invert.steps=16"]
    notebook = executed(tmp_path, smaller)
    cells = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells)
    shown = [output.get("data", {}) for cell in cells for output in cell["outputs"]]
    assert sum("<iframe srcdoc=" in data.get("text/html", "") for data in shown) == 1
    assert sum("data:image/jpeg;base64," in data.get("text/html", "") for data in shown) >= 7
    assert (tmp_path / "mixed5.png").is_file()
