"""Finding images across layers, paths on the map, saved files and links."""

import making_viewer
import numpy as np
import pytest
from making_viewer import colour_of, images_xy, make_viewer, numbers_of, write
from PIL import Image
from seeing import NEAR, at_cell, centre, full_cells, pixel, settle, state, until

from atlas_pipeline.viewer.sprites import sheet_files


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
    until(page, "([x]) => Math.abs(atlas.state.x - x) < 0.1", [float(np.median(there[:, 0]))])
    assert state(page)["y"] == pytest.approx(1 - np.median(there[:, 1]), abs=0.1)
    # Each found image has a dot.
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
    until(
        page,
        """[...document.querySelectorAll("#layers canvas")].every((canvas) =>
        canvas.getContext("2d").getImageData(0, 0, 88, 88).data.some((value) => value > 0))""",
    )
    assert state(page)["z"] == 1


def test_an_image_is_found_by_number_name_and_label(opened):
    page = opened("#grid=8")
    page.fill("#find", "image-37.")
    page.locator("#find-list li").first.click()
    until(page, "atlas.state.z > 3")
    x, y = images_xy(0)[37]
    assert (state(page)["x"], state(page)["y"]) == pytest.approx((x, 1 - y), abs=1e-3)
    assert page.inner_text("#found-words") == "Image 37: image-37.jpg"
    page.fill("#find", "#12")
    assert "image-12.jpg" in page.locator("#find-list li").first.inner_text()
    page.fill("#find", "dog")
    page.locator("#find-list li").first.click()
    until(page, "atlas.state.found === 'label:3'")
    until(page, "document.getElementById('found-words').textContent.startsWith('80 images')")
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
    width, height = page.evaluate("[atlas.cameraOf().width, atlas.cameraOf().height]")
    assert saved.size == (2 * width, 2 * (height + 46))
    assert np.abs(np.subtract(saved.getpixel((width, height)), pixel(page, 0.5, 0.5))).max() < NEAR


def test_a_saved_png_is_as_fine_as_its_pixels(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(making_viewer, "PX", 96)
    folder = make_viewer(tmp_path, grids=(32,))
    numbers = numbers_of(images_xy(0), 32, ())
    # A 24-pixel copy cannot show these stripes: it is grey.
    stripes = np.broadcast_to((np.arange(96) // 2 % 2 * 255).astype(np.uint8)[None, :, None], (96, 96, 3))
    for band in (0, 1):
        here = numbers.row // 16 == band
        icons = np.stack([stripes] * here.sum())
        sheets = sheet_files("icons", icons, numbers.row[here], numbers.col[here], 96)
        write(folder / "early" / "all" / "tiles-32", sheets)
    # An icon is 47 pixels wide on the screen and 94 in the file, more than the sheets of the screen have.
    page = opened("#labels=false&full=true&z=2", folder)
    cell = int(np.hypot(numbers.row - 15.5, numbers.col - 15.5).argmin())
    x, y = centre(int(numbers.row[cell]), int(numbers.col[cell]), 32)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").first.click()
    saved = np.asarray(Image.open(download.value.path()).convert("L")).astype(int)
    left, top, scale = page.evaluate("(({ left, top, scale }) => [left, top, scale])(atlas.cameraOf())")
    across, down = round(2 * (left + x * scale)), round(2 * (top + y * scale))
    assert np.ptp(saved[down, across - 30 : across + 30]) > 120


def test_a_link_opened_anew_shows_the_same_picture(opened):
    page = opened("#grid=8")
    page.get_by_role("button", name="late").first.click()
    page.evaluate("atlas.set({x: 0.4, y: 0.6, z: 2.5, lit: '3', sign: 'against', strength: 2})")
    page.evaluate("atlas.set({cell: '8.3.3', crops: true, colour: 'fidelity', found: 'label:1'})")
    page.get_by_role("button", name="Copy link").click()
    until(page, "atlas.attributionOf(atlas.gridShown())")
    page.wait_for_selector("#detail:not([hidden])")
    settle(page)
    page.mouse.move(5, 5)
    link = page.evaluate("location.hash")
    again = opened(link)
    until(again, "atlas.attributionOf(atlas.gridShown())")
    settle(again)
    assert state(again) == state(page)
    first, second = (p.evaluate("document.getElementById('map').toDataURL()") for p in (page, again))
    assert first == second


def test_views_are_listed_and_chosen(opened):
    page = opened("#layer=late")
    page.get_by_role("button", name="cat class atlas").click()
    settle(page)
    assert (state(page)["view"], page.evaluate("atlas.gridShown().activations")) == ("class-cat", 80)
    page.get_by_role("button", name="early").first.click()
    settle(page)
    assert (state(page)["layer"], state(page)["view"]) == ("early", "all")


def test_activations_glide_from_layer_to_layer_while_icons_fade(opened):
    page = opened("#grid=8&labels=false", reduced_motion="no-preference")
    page.evaluate("performance.now = () => window.moment ?? 0")
    icon, _ = pixel(page, *centre(3, 3, 8)), page.get_by_role("button", name="late").first.click()
    until(page, "atlas.isGliding() && atlas.gridShown()?.folder.startsWith('late')")
    # The old icons are still visible at the start.
    until(page, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    assert np.abs(np.subtract(pixel(page, *centre(3, 3, 8)), icon)).max() < NEAR
    # Half-way through, a dot lies between the two places of an image and the icons are gone.
    page.evaluate("window.moment = 0.45 * 1400")
    until(page, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    between = (images_xy(0)[7] + images_xy(1)[7]) / 2
    dot = pixel(page, between[0], 1 - between[1])
    assert max(dot) < 160
    page.evaluate("window.moment = 1e9")
    until(page, "!atlas.isGliding()")
    settle(page)
    assert np.abs(np.subtract(pixel(page, *centre(3, 3, 8)), colour_of(3, 3, 8))).max() < NEAR


def test_a_saved_png_has_the_legends_of_the_screen(opened):
    page = opened("#grid=8&labels=false&z=2&colour=fidelity&lit=2")
    until(page, "atlas.attributionOf(atlas.gridShown())")
    settle(page)
    assert page.locator("#legend section").count() == 2
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").first.click()
    saved = Image.open(download.value.path()).convert("RGB")
    width, height = page.evaluate("[atlas.cameraOf().width, atlas.cameraOf().height]")
    legend_px = page.evaluate("atlas.heightOfLegends()")
    assert legend_px > 100
    assert saved.size == (2 * width, 2 * (height + legend_px + 46))
    # The ramp of the fidelity goes from its lightest to its darkest colour.
    y = 2 * (height + 18 + 14 + 5)
    colours = [sum(saved.getpixel((2 * (16 + x), round(y)))) for x in (2, 110, 217)]
    assert colours[0] > colours[1] > colours[2]
    # Words of the ticks are drawn below it.
    below = np.asarray(saved.convert("L"))[round(y) + 12 : round(y) + 44, 30 : 2 * 240]
    assert below.min() < 150


def test_what_is_found_by_label_is_flown_to(opened):
    page = opened("#grid=8&z=6&x=0.9&y=0.5")
    page.fill("#find", "ant")
    page.locator("#find-list li").first.click()
    # The images of a label have a fifth of x, at the left in this layer.
    until(page, "atlas.state.found === 'label:0' && atlas.state.x < 0.2")
    left, right = page.evaluate("(({ left, scale }) => [left, left + scale / 5])(atlas.cameraOf())")
    width = page.evaluate("atlas.cameraOf().width")
    assert 0 < (left + right) / 2 < width


def test_a_class_whose_cells_are_off_the_screen_is_flown_to(opened):
    page = opened("#grid=8&z=6&x=0.9&y=0.5")
    page.fill("#class", "ant")
    page.keyboard.press("Enter")
    until(page, "atlas.state.x < 0.3")
    assert state(page)["lit"] == "0"
