"""Cells show their details: on hover, when chosen, lit up by a class, coloured by a number."""

import numpy as np
import pytest
from making_viewer import colour_of, images_xy, make_viewer, numbers_of, write
from seeing import NEAR, at_cell, centre, choose_colour, full_cells, pixel, settle, state, until

from atlas_pipeline.viewer.grid_files import share_file


def test_pointing_tells_the_cell_and_its_classes(opened):
    page = opened("#grid=8")
    numbers = numbers_of(images_xy(0), 8, ("ant", "bee", "cat", "dog", "emu"))
    cell = 21
    row, col = int(numbers.row[cell]), int(numbers.col[cell])
    page.mouse.move(*at_cell(page, row, col, 8))
    page.wait_for_selector("#tip .nine canvas")
    # The icon stands beside its real patches.
    assert np.abs(np.subtract(shown_in(page, "#tip .icon"), colour_of(row, col, 8))).max() < NEAR
    patch = shown_in(page, "#tip .nine canvas")
    assert np.abs(patch - np.subtract(255, colour_of(row, col, 8))).max() < NEAR
    assert page.locator("#tip .nine canvas").count() == 9
    tip = page.inner_text("#tip")
    assert f"Average of {numbers.count[cell]} activation" in tip
    best = int(numbers.attribution[cell].argmax())
    assert ["ant", "bee", "cat", "dog", "emu"][best] in tip
    assert f"{numbers.attribution[cell, best]:.2f}" in tip
    page.mouse.move(*at_cell(page, 20, 20, 8))
    assert not page.locator("#tip").is_visible()


def shown_in(page, selector):
    """Colour of a small canvas on the page, near its corner."""
    return page.evaluate(
        """(selector) => [...document.querySelector(selector).getContext("2d").getImageData(9, 9, 1, 1).data]
        .slice(0, 3)""",
        selector,
    )


def test_a_chosen_cell_shows_its_icon_numbers_classes_and_nearest_patches(opened):
    page = opened("#grid=8")
    numbers = numbers_of(images_xy(0), 8, ("ant", "bee", "cat", "dog", "emu"))
    cell = 30
    row, col = int(numbers.row[cell]), int(numbers.col[cell])
    page.mouse.click(*at_cell(page, row, col, 8))
    page.wait_for_selector(".nine button")
    panel = page.inner_text("#detail")
    assert f"Row {row + 1}, column {col + 1}" in panel
    assert f"{0.5 + cell / 128:.2f}" in panel
    assert "noise 0.12" in panel
    assert page.locator(".nine button").count() == 9
    assert page.locator(".nine button").first.get_attribute("aria-label") == (
        f"Image {cell}, image-{cell}.jpg, position 1, 2: find it on the map"
    )
    assert np.abs(np.subtract(shown_in(page, "#detail .icon"), colour_of(row, col, 8))).max() < NEAR
    best = ("ant", "bee", "cat", "dog", "emu")[int(numbers.attribution[cell].argmax())]
    assert page.inner_text("#detail h2") == best
    assert page.inner_text("#detail header .kicker").lower() == "speaks for"
    page.locator("#detail .class-bar").first.click()
    assert state(page)["lit"] == str(int(numbers.attribution[cell].argmax()))
    page.get_by_role("button", name="Close", exact=True).click()
    assert not page.locator("#detail").is_visible()


def faded(page, place, colour):
    """Whether an icon is faded towards the paper, but still there."""
    return np.abs(np.subtract(pixel(page, *place), 0.8 * 255 + 0.2 * np.array(colour))).max() < NEAR


def test_a_class_typed_lights_its_cells_and_dims_the_others(opened):
    page = opened("#grid=8&labels=false")
    page.fill("#class", "ca")
    assert page.locator("#class-list li").all_inner_texts() == ["cat"]
    page.keyboard.press("Enter")
    until(page, "atlas.attributionOf(atlas.gridShown())")
    settle(page)
    assert state(page)["lit"] == "2"
    numbers = numbers_of(images_xy(0), 8, ("ant", "bee", "cat", "dog", "emu"))
    strongest, weakest = numbers.attribution[:, 2].argmax(), numbers.attribution[:, 2].argmin()
    place = [centre(int(numbers.row[cell]), int(numbers.col[cell]), 8) for cell in (strongest, weakest)]
    colours = [colour_of(int(numbers.row[cell]), int(numbers.col[cell]), 8) for cell in (strongest, weakest)]
    assert np.abs(np.subtract(pixel(page, *place[0]), colours[0])).max() < NEAR
    assert faded(page, place[1], colours[1])
    legend = page.inner_text("#legend")
    assert "Speaks for cat" in legend
    assert page.locator("#legend .ends span").all_inner_texts() == ["0", "+0.75", "+1.50"]
    # e to the power of 1.5
    assert "multiplies the class's odds by 4.5" in legend
    page.get_by_role("button", name="against").click()
    settle(page)
    assert np.abs(np.subtract(pixel(page, *place[1]), colours[1])).max() < NEAR
    assert faded(page, place[0], colours[0])
    page.get_by_role("button", name="Show all classes").click()
    settle(page)
    assert np.abs(np.subtract(pixel(page, *place[0]), colours[0])).max() < NEAR


def test_intensity_shows_more_of_what_is_weak(opened):
    page = opened("#grid=8&labels=false&lit=2&sign=for")
    until(page, "atlas.attributionOf(atlas.gridShown())")
    before = page.evaluate("atlas.opacityOf(atlas.attributionOf(atlas.gridShown()), 20)")
    page.locator("#strength").fill("2")
    assert state(page)["strength"] == 4
    after = page.evaluate("atlas.opacityOf(atlas.attributionOf(atlas.gridShown()), 20)")
    assert after == pytest.approx(min(1, 4 * before))


@pytest.mark.parametrize(
    ("name", "ticks"), [("fidelity", ["0.51", "0.75", "0.98"]), ("coherence", ["0.02", "0.49", "0.97"])]
)
def test_a_colour_says_a_number_and_its_legend_the_range(opened, name, ticks):
    page = opened("#grid=8&labels=false")
    choose_colour(page, name)
    settle(page)
    assert state(page)["colour"] == name
    assert page.locator("#legend .ends span").all_inner_texts() == ticks
    title = page.inner_text("#legend .legend-title")
    assert title.startswith(name.capitalize())
    assert title.endswith("cosine, 1 is best")
    low, high = (sum(pixel(page, *centre(row, col, 8))) for row, col in (full_cells()[1], full_cells()[-2]))
    assert low > high + 150


def test_the_top_classes_have_colours_and_a_legend(opened):
    page = opened("#grid=8&labels=false&colour=classes")
    numbers = numbers_of(images_xy(0), 8, ("ant", "bee", "cat", "dog", "emu"))
    counts = np.bincount(numbers.attribution.argmax(axis=1), minlength=5)
    lines = page.locator("#legend li").all_inner_texts()
    shown = {line.split("\n")[0]: int(line.split("\n")[1]) for line in lines}
    assert shown == {
        ("ant", "bee", "cat", "dog", "emu")[k]: int(counts[k]) for k in np.argsort(-counts, kind="stable")[:3]
    }
    assert "grey: 2 other classes" in page.inner_text("#legend")


def test_a_share_of_images_colours_the_cells(opened, tmp_path):
    shares = [{"column": "label", "value": "cat"}, {"column": "depth", "value": None}]
    folder = make_viewer(tmp_path, shares=shares)
    numbers = numbers_of(images_xy(0), 8, ())
    of_cat = np.where(np.arange(len(numbers.row)) == 20, np.nan, numbers.col / 8)
    write(folder / "early" / "all" / "tiles-8", {"share-0.js": share_file(of_cat)})
    page = opened("#grid=8&labels=false", folder)
    page.click("#colour")
    headings = page.locator("#colour-list .heading").all_inner_texts()
    assert [words.lower() for words in headings] == [
        "cells",
        "icons",
        "share of images by label",
        "means of the images",
    ]
    choose_colour(page, "label: cat")
    settle(page)
    assert state(page)["colour"] == "share-0"
    assert page.locator("#legend .ends span").all_inner_texts() == ["0 %", "44 %", "88 %"]
    low, high = (sum(pixel(page, *centre(3, col, 8))) for col in (0, 7))
    assert low > high + 150
    # A cell without a value is grey.
    row, col = int(numbers.row[20]), int(numbers.col[20])
    grey = pixel(page, *centre(row, col, 8))
    assert max(grey) - min(grey) < 60
    page.get_by_role("button", name="No colour").click()
    assert state(page)["colour"] == ""


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1200, 800)])
def test_a_chosen_cell_is_not_hidden_by_its_own_panel(opened, width, height):
    page = opened("#grid=8&z=1.5", viewport={"width": width, "height": height})
    row, col = (7, 4) if width < 500 else (4, 7)
    page.evaluate("([x, y]) => atlas.pickAt(x, y)", centre(row, col, 8))
    page.wait_for_selector("#detail:not([hidden])")
    box, (x, y) = page.locator("#detail").bounding_box(), at_cell(page, row, col, 8)
    assert y < box["y"] if width < 500 else x < box["x"]
    # The view in a link wins: opening it with a cell does not move the map.
    again = opened(f"#grid=8&z=1.5&cell=8.{row}.{col}", viewport={"width": width, "height": height})
    assert (state(again)["x"], state(again)["y"]) == (0.5, 0.5)


def test_what_is_told_is_of_the_cell_that_now_lies_under_a_resting_pointer(opened):
    page = opened("#grid=8")
    numbers = numbers_of(images_xy(0), 8, ())
    page.mouse.move(*at_cell(page, 2, 2, 8))
    page.evaluate("atlas.set({x: 0.5 + 1 / 8})")
    settle(page)
    there = (numbers.row == 2) & (numbers.col == 3)
    assert f"Average of {numbers.count[there][0]} activation" in page.inner_text("#tip")
    assert page.evaluate("document.getElementById('tip').dataset.cell").endswith(f"#{np.argmax(there)}")


@pytest.mark.parametrize(
    ("value", "number", "words", "is_light"),
    [
        ("frog", 0.0, ["0 %"], True),
        ("frog", 0.5, ["0 %", "25 %", "50 %"], False),
        (None, 3.0, ["3.00"], False),
    ],
)
def test_cells_that_are_all_alike_have_one_colour_and_of_none_the_lightest(
    opened, tmp_path, value, number, words, is_light
):
    folder = make_viewer(tmp_path, grids=(8,), shares=[{"column": "label", "value": value}])
    num_cells = len(numbers_of(images_xy(0), 8, ()).row)
    write(folder / "early" / "all" / "tiles-8", {"share-0.js": share_file(np.full(num_cells, number))})
    page = opened("#labels=false&colour=share-0", folder)
    until(page, "atlas.coloursOver(atlas.gridShown()) !== null")
    settle(page)
    assert page.locator("#legend .ends span").all_inner_texts() == words
    assert (sum(pixel(page, *centre(3, 3, 8))) > 500) == is_light


def test_the_tooltip_tells_the_class_that_is_lit_up_now(opened):
    # With a legend from the start: one that appears moves the map off it.
    page = opened("#grid=8&lit=0")
    until(page, "atlas.attributionOf(atlas.gridShown())")
    settle(page)
    numbers = numbers_of(images_xy(0), 8, ("ant", "bee", "cat", "dog", "emu"))
    cell = 21
    page.mouse.move(*at_cell(page, numbers.row[cell], numbers.col[cell], 8))
    for lit, label in ((1, "bee"), (3, "dog")):
        page.evaluate("(lit) => atlas.set({lit})", str(lit))
        until(page, "atlas.attributionOf(atlas.gridShown())")
        settle(page)
        words = page.inner_text("#tip .of-class").replace("\u2212", "-").split()
        assert words[0] == label
        assert float(words[1]) == pytest.approx(numbers.attribution[cell, lit], abs=0.03)
    page.evaluate("atlas.set({lit: ''})")
    settle(page)
    assert page.locator("#tip .of-class").count() == 0
