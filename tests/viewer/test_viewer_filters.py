"""Linked histograms filter the map: what is outside fades, what is kept stays, the link holds it."""

import numpy as np
from making_viewer import colour_of, images_xy, numbers_of
from seeing import NEAR, centre, pixel, settle, state, until

LABELS = ("ant", "bee", "cat", "dog", "emu")
PAPER_SHARE = 0.88


def opened_filters(opened, link="#grid=8&labels=false&full=true"):
    page = opened(link)
    page.get_by_text("Filter cells").click()
    until(page, "document.querySelectorAll('#filters .filter').length > 2")
    return page


def slide(page, name, end, steps):
    """Move a slider by keys, as a keyboard user would."""
    slider = page.get_by_label(f"{name}: {end}")
    slider.focus()
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
    settle(page)


def test_cells_outside_a_range_fade_and_the_words_count_the_others(opened):
    page = opened_filters(opened)
    numbers = numbers_of(images_xy(0), 8, LABELS)
    slide(page, "Fidelity", "least", 12)
    # Fidelity rises evenly from cell to cell; half of the bins are left.
    fidelity = numbers.measures["fidelity"]
    border = (fidelity.min() + fidelity.max()) / 2
    kept = fidelity >= border - 1e-4
    until(
        page,
        "(words) => document.getElementById('filters-words').textContent === words",
        f"{kept.sum()} of 64 cells",
    )
    for cell in (3, 60):
        row, col = int(numbers.row[cell]), int(numbers.col[cell])
        colour = np.array(colour_of(row, col, 8))
        wanted = colour if kept[cell] else PAPER_SHARE * 255 + (1 - PAPER_SHARE) * colour
        assert np.abs(pixel(page, *centre(row, col, 8)) - wanted).max() < NEAR
    assert "0.75" in page.locator(".filter[data-name=fidelity] .filter-range").inner_text()
    assert "only fidelity 0.75" in page.evaluate("atlas.caption()")
    # The link holds the filter, and the button lifts it.
    again = opened("#" + page.evaluate("atlas.addressOf(atlas.state)"))
    assert state(again)["only"] == state(page)["only"] != ""
    page.get_by_role("button", name="Show all cells").click()
    settle(page)
    row, col = int(numbers.row[3]), int(numbers.col[3])
    assert np.abs(np.subtract(pixel(page, *centre(row, col, 8)), colour_of(row, col, 8))).max() < NEAR
    assert page.inner_text("#filters-words") == ""


def test_the_other_histograms_show_what_a_filter_leaves(opened):
    page = opened_filters(opened)
    coloured = """(name) => { const canvas = document.querySelector(`.filter[data-name=${name}] canvas`);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const accent = [0x8a, 0x2b, 0x52];
        return Array.from({ length: data.length / 4 }, (_, at) => at)
            .filter((at) => accent.every((value, c) => data[4 * at + c] === value)).length; }"""
    before = page.evaluate(coloured, "coherence")
    slide(page, "Fidelity", "least", 12)
    # Coherence rises with fidelity in this map, so its lower half loses its colour.
    until(page, f"([name, most]) => ({coloured})(name) < most", ["coherence", 0.7 * before])
    assert page.evaluate(coloured, "coherence") > 0.3 * before


def test_a_share_of_metadata_can_filter_while_it_colours_the_map(opened, tmp_path):
    from making_viewer import make_viewer, write

    from atlas_pipeline.viewer.grid_files import share_file

    folder = make_viewer(tmp_path, grids=(8,), shares=[{"column": "label", "value": "cat"}])
    numbers = numbers_of(images_xy(0), 8, LABELS)
    write(folder / "early" / "all" / "tiles-8", {"share-0.js": share_file(numbers.col / 8)})
    page = opened("#colour=share-0", folder)
    page.get_by_text("Filter cells").click()
    until(page, "document.querySelector('.filter[data-name=share-0]')")
    slide(page, "label: cat", "most", -12)
    until(page, "document.getElementById('filters-words').textContent === '32 of 64 cells'")
