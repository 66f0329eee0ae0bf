"""The viewer inside a notebook: one page that holds its files and loads nothing."""

import pytest
from seeing import NEAR, centre, full_cells, pixel, settle, until

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.reader.file_names import FolderFiles
from atlas_pipeline.reader.inline_viewer import InlineViewer


def viewer_of(folder, max_mb=50, only=None):
    return InlineViewer(FolderFiles(folder), height_px=700, max_mb=max_mb, only=only)


@pytest.fixture
def frame(browser, tmp_path):
    """`frame(viewer)`: the iframe of a page that shows the viewer; the page may report and load nothing."""
    contexts, faults = [], []

    def call(viewer):
        notebook = tmp_path / "notebook.html"
        notebook.write_text(f"<!doctype html><body>{viewer._repr_html_()}</body>")
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 800}, reduced_motion="reduce"))
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url))
        page.goto(f"file://{notebook}")
        assert faults.pop(0) == f"file://{notebook}"
        (_, inner) = page.frames
        settle(inner)
        return inner

    yield call
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not fault.startswith(("data:", "blob:"))] == []


def shown_colour(frame, grid=8):
    row, col = full_cells(grid)[0]
    return pixel(frame, *centre(row, col, grid)), [round(255 * col / grid), round(255 * row / grid), 128]


def test_a_notebook_shows_the_icons_and_follows_every_control(frame, made):
    inner = frame(viewer_of(made))
    found, expected = shown_colour(inner)
    assert all(abs(a - b) <= NEAR for a, b in zip(found, expected, strict=True))
    assert inner.evaluate("document.querySelector('.thumbnail img').naturalWidth") == 112
    # Another layer, grid and class are further files.
    inner.evaluate("atlas.set({ layer: 'late', grid: 32, lit: '2', full: true })")
    settle(inner)
    until(inner, "location.hash.includes('layer=late')")
    assert inner.evaluate("document.getElementById('notice').hidden")
    row, col = full_cells(8)[0]
    inner.evaluate("(cell) => atlas.set({ grid: 8, cell, lit: '', layer: 'early' })", f"8.{row}.{col}")
    settle(inner)
    until(inner, "document.querySelectorAll('#detail canvas').length > 1")
    assert inner.evaluate("document.getElementById('notice').hidden")


def test_an_atlas_shows_its_layer_and_view_alone(frame, made):
    inner = frame(viewer_of(made, only=("late", "class-cat")))
    assert inner.evaluate("atlas.run.layers.map(({ name }) => name)") == ["late"]
    assert inner.evaluate("atlas.state.view") == "class-cat"


def test_grids_that_do_not_fit_are_left_out_and_said(made):
    whole = viewer_of(made)
    assert whole.left_out == []
    fine = sum(len(file.read_bytes()) for file in (made / "late" / "all" / "tiles-32").iterdir())
    smaller = viewer_of(made, max_mb=(whole.num_bytes - fine / 2) / 1e6)
    assert smaller.left_out == [("late", "all", 32)]
    assert smaller.num_bytes <= whole.num_bytes - fine
    assert "left out" in smaller._repr_html_()
    assert "late all 32" in smaller._repr_html_()
    with pytest.raises(ConfigError, match=r"larger than max_mb; raise it"):
        viewer_of(made, max_mb=0.01)


def test_a_run_without_a_page_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no viewer .*atlas run"):
        viewer_of(tmp_path)


def test_no_text_of_a_run_ends_a_script(frame, tmp_path):
    from making_viewer import make_viewer

    label = "</script><script>alert(1)</script>"
    inner = frame(viewer_of(make_viewer(tmp_path / "made", labels=[label, "bee", "cat", "dog", "emu"])))
    inner.evaluate("atlas.set({ lit: '0' })")
    settle(inner)
    assert inner.evaluate("document.getElementById('class').value") == label
