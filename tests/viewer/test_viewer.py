"""Every control of the viewer does what it says: by what is on the screen, or in the state of a link."""

import io

import numpy as np
import pytest
from conftest import settle
from making_viewer import colour_of, images_xy, numbers_of
from PIL import Image

NEAR = 12  # levels of 255 that WebP may take from an even colour


def state(page):
    return page.evaluate("atlas.state")


def pixel(page, x, y):
    """The colour of the map at a point of the unit square, y down."""
    return page.evaluate(
        """([x, y]) => { const { left, top, scale } = atlas.camera(), map = document.getElementById("map");
        const at = [left + x * scale, top + y * scale].map((n) => Math.round(n * devicePixelRatio));
        return [...map.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3); }""",
        [x, y],
    )


def centre(row, col, grid):
    return (col + 0.5) / grid, (row + 0.5) / grid


def at_cell(page, row, col, grid):
    """Where a cell is on the page, for the mouse."""
    x, y = centre(row, col, grid)
    return page.evaluate(
        """([x, y]) => { const { left, top, scale } = atlas.camera();
        const box = document.getElementById("map").getBoundingClientRect();
        return [box.left + left + x * scale, box.top + top + y * scale]; }""",
        [x, y],
    )


def full_cells(grid=8, layer=0):
    """Cells whose icon fills them: their centre has the icon's colour whatever the size."""
    numbers = numbers_of(images_xy(layer), grid, ())
    return list(zip(numbers.row.tolist(), numbers.col.tolist(), strict=True))


def test_icons_are_where_their_cells_are(opened):
    page = opened("#grid=8&labels=false")
    for row, col in full_cells()[::7]:
        assert np.abs(np.subtract(pixel(page, *centre(row, col, 8)), colour_of(row, col, 8))).max() < NEAR
    assert page.inner_text("#status").startswith("8 × 8 · 64 icons · 400 activations")


def test_a_finer_grid_comes_with_zoom_and_by_choice(opened):
    page = opened("#labels=false")
    assert page.evaluate("atlas.shown().size") == 8
    page.evaluate("atlas.set({z: 3})")
    settle(page)
    assert page.evaluate("atlas.shown().size") == 32
    page.get_by_role("button", name="8 by 8 cells").click()
    settle(page)
    assert (state(page)["grid"], page.evaluate("atlas.shown().size")) == (8, 8)
    page.get_by_role("button", name="Grid by zoom").click()
    assert state(page)["grid"] == 0


def test_wheel_drag_double_click_buttons_and_home_move_the_map(opened):
    page = opened("#grid=8")
    x, y = at_cell(page, 2, 2, 8)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.wait_for_function("atlas.state.z > 1.3")
    # What was under the pointer still is.
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


def test_pointing_tells_the_cell_and_its_classes(opened):
    page = opened("#grid=8")
    numbers = numbers_of(images_xy(0), 8, ("ant", "bee", "cat", "dog", "emu"))
    cell = 21
    page.mouse.move(*at_cell(page, numbers.row[cell], numbers.col[cell], 8))
    tip = page.inner_text("#tip")
    assert f"Average of {numbers.count[cell]} activation" in tip
    best = int(numbers.attribution[cell].argmax())
    assert ["ant", "bee", "cat", "dog", "emu"][best] in tip
    assert f"{numbers.attribution[cell, best]:.2f}" in tip
    page.mouse.move(*at_cell(page, 20, 20, 8))
    assert not page.locator("#tip").is_visible()


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
    shown = page.evaluate("""() => { const icon = document.querySelector("#detail .icon");
        return [...icon.getContext("2d").getImageData(9, 9, 1, 1).data].slice(0, 3); }""")
    assert np.abs(np.subtract(shown, colour_of(row, col, 8))).max() < NEAR
    page.locator("#detail .class-bar").first.click()
    assert state(page)["lit"] == str(int(numbers.attribution[cell].argmax()))
    page.get_by_role("button", name="Close", exact=True).click()
    assert not page.locator("#detail").is_visible()


def test_a_class_typed_lights_its_cells_and_veils_the_others(opened):
    page = opened("#grid=8&labels=false")
    page.fill("#class", "ca")
    assert page.locator("#class-list li").all_inner_texts() == ["cat"]
    page.keyboard.press("Enter")
    page.wait_for_function("atlas.attribution(atlas.shown())")
    settle(page)
    assert state(page)["lit"] == "2"
    numbers = numbers_of(images_xy(0), 8, ("ant", "bee", "cat", "dog", "emu"))
    strongest, weakest = numbers.attribution[:, 2].argmax(), numbers.attribution[:, 2].argmin()
    place = [centre(int(numbers.row[cell]), int(numbers.col[cell]), 8) for cell in (strongest, weakest)]
    colours = [colour_of(int(numbers.row[cell]), int(numbers.col[cell]), 8) for cell in (strongest, weakest)]
    assert np.abs(np.subtract(pixel(page, *place[0]), colours[0])).max() < NEAR
    assert min(pixel(page, *place[1])) > 235
    assert "+1.5" in page.inner_text("#class-note")
    page.get_by_role("button", name="against").click()
    settle(page)
    assert np.abs(np.subtract(pixel(page, *place[1]), colours[1])).max() < NEAR
    assert min(pixel(page, *place[0])) > 235
    page.get_by_role("button", name="Show all classes").click()
    settle(page)
    assert np.abs(np.subtract(pixel(page, *place[0]), colours[0])).max() < NEAR


def test_intensity_shows_more_of_what_is_weak(opened):
    page = opened("#grid=8&labels=false&lit=2&sign=for")
    page.wait_for_function("atlas.attribution(atlas.shown())")
    before = page.evaluate("atlas.opacityOf(atlas.attribution(atlas.shown()), 20)")
    page.locator("#strength").fill("2")
    assert state(page)["strength"] == 4
    after = page.evaluate("atlas.opacityOf(atlas.attribution(atlas.shown()), 20)")
    assert after == pytest.approx(min(1, 4 * before))


@pytest.mark.parametrize(("name", "ends"), [("fidelity", ["0.51", "0.98"]), ("coherence", ["0.02", "0.97"])])
def test_a_colour_says_a_number_and_its_legend_the_range(opened, name, ends):
    page = opened("#grid=8&labels=false")
    page.select_option("#colour", name)
    settle(page)
    assert page.locator("#legend .ends span").all_inner_texts() == ends
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
    page = opened("#grid=32&z=1.5&labels=false")
    numbers = numbers_of(images_xy(0), 32, ())
    sides = page.evaluate("[...atlas.shown().side]")
    cell = int(np.argmin(sides))
    assert sides[cell] < 255
    # A fifth in from the corner of its cell.
    row, col = int(numbers.row[cell]), int(numbers.col[cell])
    corner = ((col + 0.08) / 32, (row + 0.08) / 32)
    page.evaluate("([x, y]) => atlas.set({x, y})", corner)
    settle(page)
    assert min(pixel(page, *corner)) > 250
    page.get_by_role("button", name="Full", exact=True).click()
    settle(page)
    assert np.abs(np.subtract(pixel(page, *corner), colour_of(row, col, 32))).max() < 2 * NEAR


def test_names_stand_on_the_map_unless_they_are_switched_off(opened):
    page = opened("#grid=8")
    shot = lambda: np.asarray(Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("L"))  # noqa: E731
    with_names = shot()
    page.get_by_label("Names on the map").uncheck()
    settle(page)
    assert (with_names != shot()).mean() > 0.001
    assert state(page)["labels"] is False


def test_another_layer_lights_up_what_was_chosen_and_keeps_the_place(opened):
    page = opened("#grid=8&z=3")
    row, col = full_cells()[20]
    page.evaluate("([x, y]) => atlas.set({x, y})", centre(row, col, 8))
    page.mouse.click(*at_cell(page, row, col, 8))
    page.wait_for_selector("#detail:not([hidden])")
    page.get_by_role("button", name="late").first.click()
    settle(page)
    x, y = images_xy(0).T
    chosen = (x >= col / 8) & (x < (col + 1) / 8) & (1 - y >= row / 8) & (1 - y < (row + 1) / 8)
    assert page.inner_text("#found-words") == f"{chosen.sum()} images of a region of early"
    there = images_xy(1)[chosen]
    page.wait_for_function("([x]) => Math.abs(atlas.state.x - x) < 0.1", arg=[float(np.median(there[:, 0]))])
    assert state(page)["y"] == pytest.approx(1 - np.median(there[:, 1]), abs=0.1)
    # A dot lies over each.
    accent = pixel(page, there[0, 0], 1 - there[0, 1])
    assert np.abs(np.subtract(accent, [0x8A, 0x2B, 0x52])).max() < 40
    page.get_by_role("button", name="Clear").click()
    assert state(page)["found"] == ""


def test_a_brushed_region_lights_up_in_every_thumbnail(opened):
    page = opened("#grid=8")
    page.get_by_role("button", name="Brush a region").click()
    (x0, y0), (x1, y1) = at_cell(page, 2, 2, 8), at_cell(page, 5, 5, 8)
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=3)
    page.mouse.up()
    page.wait_for_selector("#found:not([hidden])")
    x, y = images_xy(0).T
    count = ((x >= 2.5 / 8) & (x < 5.5 / 8) & (1 - y >= 2.5 / 8) & (1 - y < 5.5 / 8)).sum()
    assert int(page.inner_text("#found-words").split()[0]) == pytest.approx(count, abs=2)
    page.wait_for_function("""[...document.querySelectorAll("#layers canvas")].every((canvas) =>
        canvas.getContext("2d").getImageData(0, 0, 88, 88).data.some((value) => value > 0))""")
    assert state(page)["z"] == 1


def test_an_image_is_found_by_number_name_and_label(opened):
    page = opened("#grid=8")
    page.fill("#find", "image-37.")
    page.locator("#find-list li").first.click()
    page.wait_for_function("atlas.state.z > 3")
    x, y = images_xy(0)[37]
    assert (state(page)["x"], state(page)["y"]) == pytest.approx((x, 1 - y), abs=1e-3)
    assert page.inner_text("#found-words") == "Image 37: image-37.jpg"
    page.fill("#find", "#12")
    assert "image-12.jpg" in page.locator("#find-list li").first.inner_text()
    page.fill("#find", "dog")
    page.locator("#find-list li").first.click()
    page.wait_for_function("atlas.state.found === 'label:3'")
    page.wait_for_function("document.getElementById('found-words').textContent.startsWith('80 images')")
    page.fill("#find", "no such thing")
    assert page.locator("#find-list li").all_inner_texts() == ["Nothing by this name"]


def test_a_traced_path_gives_its_icons_as_a_png(opened):
    page = opened("#grid=8")
    page.get_by_role("button", name="Trace a path").click()
    (x0, y0), (x1, y1) = at_cell(page, 4, 1, 8), at_cell(page, 4, 6, 8)
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=6)
    page.mouse.up()
    page.wait_for_selector("#strip-icons button")
    assert page.inner_text("#strip-words") == "6 icons along the path"
    assert (
        page.locator("#strip-icons button").first.get_attribute("aria-label").startswith("1: Row 5, column 2")
    )
    with page.expect_download() as download:
        page.locator("#strip-save").click()
    strip = Image.open(download.value.path()).convert("RGB")
    assert strip.width == 6 * 168 + 8
    assert np.abs(np.subtract(strip.getpixel((88, 88)), colour_of(4, 1, 8))).max() < NEAR
    page.get_by_role("button", name="Remove the path").click()
    assert (state(page)["path"], page.locator("#strip").is_visible()) == ("", False)


def test_what_is_seen_is_saved_as_png(opened):
    page = opened("#grid=8&labels=false&z=2")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").first.click()
    assert download.value.suggested_filename == "made-early-All-activations.png"
    saved = Image.open(download.value.path()).convert("RGB")
    width, height = page.evaluate("[atlas.camera().width, atlas.camera().height]")
    assert saved.size == (2 * width, 2 * (height + 46))
    assert np.abs(np.subtract(saved.getpixel((width, height)), pixel(page, 0.5, 0.5))).max() < NEAR


def test_a_link_opened_anew_shows_the_same_picture(opened):
    page = opened("#grid=8")
    page.get_by_role("button", name="late").first.click()
    page.evaluate("atlas.set({x: 0.4, y: 0.6, z: 2.5, lit: '3', sign: 'against', strength: 2})")
    page.evaluate("atlas.set({cell: '8.3.3', crops: true, colour: 'fidelity', found: 'label:1'})")
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_function("atlas.attribution(atlas.shown())")
    page.wait_for_selector("#detail:not([hidden])")
    settle(page)
    page.mouse.move(5, 5)
    link = page.evaluate("location.hash")
    again = opened(link)
    again.wait_for_function("atlas.attribution(atlas.shown())")
    settle(again)
    assert state(again) == state(page)
    first, second = (
        np.asarray(Image.open(io.BytesIO(p.locator("#map").screenshot())).convert("RGB")).astype(int)
        for p in (page, again)
    )
    assert np.abs(first - second).max() <= 2


def test_views_are_listed_and_chosen(opened):
    page = opened("#layer=late")
    page.get_by_role("button", name="cat class atlas").click()
    settle(page)
    assert (state(page)["view"], page.evaluate("atlas.shown().activations")) == ("class-cat", 80)
    page.get_by_role("button", name="early").first.click()
    settle(page)
    assert (state(page)["layer"], state(page)["view"]) == ("early", "all")


def test_dark_and_light(opened):
    page = opened("#grid=8")
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
    page.wait_for_function("getComputedStyle(document.getElementById('side')).visibility === 'hidden'")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
