"""The map moves and shows the chosen content, as seen on the screen or in the state of a link."""

import numpy as np
import pytest
from making_viewer import colour_of, images_xy, numbers_of
from seeing import NEAR, at_cell, centre, full_cells, greyscale, pixel, settle, state, until


def test_icons_are_where_their_cells_are(opened):
    page = opened("#grid=8&labels=false")
    for row, col in full_cells()[::7]:
        assert np.abs(np.subtract(pixel(page, *centre(row, col, 8)), colour_of(row, col, 8))).max() < NEAR
    assert page.inner_text("#status").startswith("8 × 8 · 64 icons · 400 activations")


def test_a_finer_grid_comes_with_zoom_and_by_choice(opened):
    page = opened("#labels=false")
    assert page.evaluate("atlas.gridShown().size") == 8
    page.evaluate("atlas.set({z: 3})")
    settle(page)
    assert page.evaluate("atlas.gridShown().size") == 32
    page.get_by_role("button", name="8 by 8 cells").click()
    settle(page)
    assert (state(page)["grid"], page.evaluate("atlas.gridShown().size")) == (8, 8)
    page.get_by_role("button", name="Grid by zoom").click()
    assert state(page)["grid"] == 0


def test_wheel_drag_double_click_buttons_and_home_move_the_map(opened):
    page = opened("#grid=8")
    x, y = at_cell(page, 2, 2, 8)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    until(page, "atlas.state.z > 1.3")
    # The point under the pointer stays there.
    assert at_cell(page, 2, 2, 8) == pytest.approx([x, y], abs=0.5)
    before = state(page)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=4)
    page.mouse.up()
    assert at_cell(page, 2, 2, 8) == pytest.approx([x + 60, y + 30], abs=0.5)
    assert state(page)["z"] == before["z"]
    assert state(page)["cell"] == ""
    page.mouse.dblclick(x, y)
    assert state(page)["z"] == pytest.approx(2 * before["z"])
    page.get_by_role("button", name="Zoom out").click()
    assert state(page)["z"] == pytest.approx(2 * before["z"] / 1.6)
    page.get_by_role("button", name="The whole map").click()
    assert [state(page)[name] for name in "xyz"] == [0.5, 0.5, 1]


def test_two_fingers_zoom(opened):
    page = opened("#grid=8", has_touch=True)
    x, y = at_cell(page, 4, 4, 8)
    touch = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 80), ("touchMove", 120)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert state(page)["z"] == pytest.approx(3, rel=0.1)
    assert at_cell(page, 4, 4, 8) == pytest.approx([x, y], abs=4)


def test_the_minimap_moves_the_map(opened):
    page = opened("#z=4")
    box = page.locator("#minimap").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
    page.mouse.down()
    assert (state(page)["x"], state(page)["y"]) == pytest.approx((0.25, 0.75), abs=0.02)
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.up()
    assert (state(page)["x"], state(page)["y"]) == pytest.approx((0.5, 0.5), abs=0.02)


def test_keys_move_zoom_and_go_from_icon_to_icon(opened):
    page = opened("#grid=8&z=2")
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    assert state(page)["x"] > 0.5
    page.keyboard.press("+")
    assert state(page)["z"] == pytest.approx(2.8)
    page.keyboard.press("0")
    assert state(page)["z"] == 1
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail:not([hidden])")
    _, row, col = map(int, state(page)["cell"].split("."))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert state(page)["cell"] == f"8.{row + 1}.{col + 1}"
    assert f"Row {row + 2}, column {col + 2}" in page.inner_text("#said")
    for key, name, value in (
        ("c", "crops", True),
        ("s", "full", True),
        ("n", "labels", False),
        ("g", "grid", 32),
    ):
        page.keyboard.press(key)
        assert state(page)[name] == value
    page.keyboard.press("Escape")
    assert state(page)["cell"] == ""
    page.keyboard.press("]")
    assert state(page)["layer"] == "late"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_patches_take_the_place_of_icons(opened):
    page = opened("#grid=8&labels=false")
    page.get_by_role("button", name="Dataset patches").click()
    settle(page)
    row, col = full_cells()[9]
    wanted = np.subtract(255, colour_of(row, col, 8))
    assert np.abs(pixel(page, *centre(row, col, 8)) - wanted).max() < NEAR
    page.get_by_role("button", name="Icons", exact=True).click()
    settle(page)
    assert np.abs(np.subtract(pixel(page, *centre(row, col, 8)), colour_of(row, col, 8))).max() < NEAR


def test_icons_are_sized_by_density_or_fill_their_cells(opened):
    page = opened("#grid=8&labels=false")
    numbers = numbers_of(images_xy(0), 8, ())
    sides = page.evaluate("[...atlas.gridShown().side]")
    cell = int(np.argmin(sides))
    assert sides[cell] < 255
    # A point near the corner of the cell.
    row, col = int(numbers.row[cell]), int(numbers.col[cell])
    corner = ((col + 0.12) / 8, (row + 0.12) / 8)
    page.evaluate("([x, y]) => atlas.set({x, y})", corner)
    settle(page)
    # Only the ground shows, which is light grey at most.
    assert min(pixel(page, *corner)) > 225
    assert np.ptp(pixel(page, *corner)) < 10
    page.get_by_role("button", name="Full", exact=True).click()
    settle(page)
    assert np.abs(np.subtract(pixel(page, *corner), colour_of(row, col, 8))).max() < 2 * NEAR


def test_names_stand_on_the_map_unless_they_are_switched_off(opened):
    page = opened("#grid=8")
    with_names = greyscale(page)
    page.get_by_label("Names on the map").uncheck()
    settle(page)
    assert (with_names != greyscale(page)).mean() > 0.001
    assert state(page)["labels"] is False


def test_dark_and_light(opened):
    page = opened("#grid=8&labels=false")
    assert min(pixel(page, -0.02, 0.5)) > 250
    page.get_by_role("button", name="Dark").click()
    settle(page)
    assert max(pixel(page, -0.02, 0.5)) < 40
    assert opened("#grid=8", color_scheme="dark").get_by_role("button", name="Light").is_visible()


def test_a_phone_opens_and_closes_the_options(opened):
    page = opened("#grid=8", viewport={"width": 390, "height": 844}, has_touch=True)
    assert not page.locator("#side").is_visible()
    page.get_by_role("button", name="Layers and options").tap()
    assert page.locator("#side").is_visible()
    page.get_by_role("button", name="late").first.tap()
    assert state(page)["layer"] == "late"
    page.get_by_role("button", name="Close the options").tap()
    until(page, "getComputedStyle(document.getElementById('side')).visibility === 'hidden'")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
