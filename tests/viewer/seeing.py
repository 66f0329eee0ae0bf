"""Helpers that read the screen of a viewer."""

import io

import numpy as np
from making_viewer import images_xy, numbers_of
from PIL import Image

NEAR = 12  # largest error of WebP in a uniform colour, in levels of 255


def state(page):
    return page.evaluate("atlas.state")


def pixel(page, x, y):
    """Colour of the map at a point of the unit square, y down."""
    return page.evaluate(
        """([x, y]) => { const { left, top, scale } = atlas.cameraOf(), map = document.getElementById("map");
        const at = [left + x * scale, top + y * scale].map((n) => Math.round(n * devicePixelRatio));
        return [...map.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3); }""",
        [x, y],
    )


def centre(row, col, grid):
    return (col + 0.5) / grid, (row + 0.5) / grid


def at_cell(page, row, col, grid):
    """Position of a cell on the page, for the mouse."""
    x, y = centre(row, col, grid)
    return page.evaluate(
        """([x, y]) => { const { left, top, scale } = atlas.cameraOf();
        const box = document.getElementById("map").getBoundingClientRect();
        return [box.left + left + x * scale, box.top + top + y * scale]; }""",
        [x, y],
    )


def full_cells(grid=8, layer=0):
    """Cells that their icon fills, so that the centre has its colour at any size."""
    numbers = numbers_of(images_xy(layer), grid, ())
    return list(zip(numbers.row.tolist(), numbers.col.tolist(), strict=True))


def until(page, condition, argument=None):
    """Wait until an expression is true; the page's content policy forbids Playwright's own waiting."""
    for _ in range(600):
        if page.evaluate(condition, argument):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never came true: {condition}")


def settle(page):
    """Wait until everything visible has been loaded and drawn."""
    until(page, "atlas.isComplete() && (!atlas.gridSize() || atlas.gridShown()?.size === atlas.gridSize())")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    until(page, "atlas.isComplete()")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def choose_colour(page, words):
    """Choose what colours the map, in the field that narrows by typing."""
    page.fill("#colour", words)
    page.keyboard.press("Enter")


def greyscale(page):
    """The map as drawn: (row, col) levels."""
    return np.asarray(Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("L")).astype(int)


def faults_by_axe(page):
    """The serious faults: name to the elements that have it."""
    from axe_playwright_python.sync_playwright import Axe

    # No preload: axe would fetch the style sheet, which the page forbids; it reads the style from the page.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return {
        f["id"]: [n["target"] for n in f["nodes"]] for f in found if f["impact"] in ("serious", "critical")
    }


def assert_fits_without_faults(page, width):
    """At this width nothing reaches beyond the side, and axe finds no serious fault."""
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults_by_axe(page) == {}


def places_within(page, folder):
    """Follow all links within the page from its start; other links must name a file, relative to the folder.

    Returns: the addresses seen.
    """
    seen, waiting = set(), ["#"]
    while waiting:
        link = waiting.pop()
        if link in seen:
            continue
        seen.add(link)
        page.evaluate("(link) => { location.hash = link; }", link)
        until(page, "atlas.isDrawn()")
        assert page.locator("#notice").is_hidden(), link
        for href in page.eval_on_selector_all("a[href]", "(all) => all.map((a) => a.getAttribute('href'))"):
            if href.startswith("#"):
                waiting.append(href)
            else:
                assert (folder / href.split("#")[0]).resolve().is_file(), href
    return seen
