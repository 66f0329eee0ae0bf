"""An image as a whole: its panel, its way through the layers, two maps brushed together."""

import numpy as np
import pytest
from making_viewer import (
    CLASSES,
    MAP_SIZE,
    WHOLE,
    activations_xy,
    images_xy,
    is_wrong,
    make_viewer,
    numbers_of,
    position_of,
    whole_colour,
)
from seeing import NEAR, at_cell, full_cells, pixel, settle, state, until

WRONG, RIGHT = 24, 28
ACCENT, INK = (0x8A, 0x2B, 0x52), (0x1D, 0x1D, 0x21)


def opened_image(opened, image, link="#grid=8", **how):
    page = opened(link, **how)
    page.fill("#find", f"#{image}")
    page.locator("#find-list li").first.click()
    page.wait_for_selector("#image-layers button")
    return page


def drawn(page):
    """The picture of the panel: (row, column, 3)."""
    until(page, "document.querySelector('.whole')?.width > 300")
    page.wait_for_timeout(100)
    side, data = page.evaluate(
        """() => { const canvas = document.querySelector(".whole");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.width);
        return [canvas.width, [...data]]; }"""
    )
    return np.reshape(data, (side, side, 4))[..., :3]


def test_an_image_is_shown_whole_with_its_position_label_and_prediction(opened):
    page = opened_image(opened, WRONG)
    assert is_wrong(WRONG)
    assert page.inner_text("#detail h2") == f"image-{WRONG}.jpg"
    label, predicted = CLASSES[WRONG % 5], CLASSES[(WRONG + 1) % 5]
    rows = page.locator("#detail .numbers dd").all_inner_texts()
    assert rows[0].split() == [label]
    assert rows[1].startswith(predicted)
    assert f"probability {round(100 * (0.5 + WRONG / 1000))} %, not as labelled" in rows[1]
    picture = drawn(page)
    side = len(picture)
    # The corner has the image's colour. The outline of the sampled position lies at its place alone.
    assert np.abs(picture[3, 3] - whole_colour(WRONG)).max() < NEAR
    is_marked = np.abs(picture - ACCENT).max(axis=2) < 30
    row, col = position_of(WRONG)
    ys, xs = np.nonzero(is_marked)
    box = [ys.min(), ys.max(), xs.min(), xs.max()]
    wanted = [row / MAP_SIZE[0], (row + 1) / MAP_SIZE[0], col / MAP_SIZE[1], (col + 1) / MAP_SIZE[1]]
    assert box == pytest.approx(np.array(wanted) * side, abs=6)
    assert f"row {row + 1}, column {col + 1} of 6 × 8" in page.inner_text("#detail figcaption")
    # A right prediction is called so.
    page = opened_image(opened, RIGHT)
    assert "as labelled" in page.inner_text("#detail .numbers")
    assert "not as labelled" not in page.inner_text("#detail .numbers")


def test_the_image_s_cells_are_listed_by_layer_and_ringed_on_the_map(opened):
    page = opened_image(opened, RIGHT, link="#grid=8&labels=false")
    settle(page)
    rows = page.locator("#image-layers button")
    assert [row.split("\n")[0] for row in rows.all_inner_texts()] == ["early", "late", "bare"]
    until(page, "document.querySelectorAll('#image-layers .icon').length === 2")
    for layer, name in ((0, "early"), (1, "late")):
        x, y = images_xy(layer)[RIGHT]
        row, col = int((1 - y) * 8), int(x * 8)
        until(page, f"document.querySelector('#image-layers [data-layer={name}] .icon').width > 20")
        icon = page.evaluate(
            """(name) => [...document.querySelector(`#image-layers [data-layer=${name}] .icon`)
            .getContext("2d").getImageData(9, 9, 1, 1).data].slice(0, 3)""",
            name,
        )
        assert icon == pytest.approx([255 * col / 8, 255 * row / 8, 128], abs=NEAR)
        # The activation is ringed: accent colour nine pixels from its place.
        page.get_by_role("button", name=name).first.click() if layer else None
        settle(page)
        until(page, f"atlas.imagePlaces('{name}') !== null")
        settle(page)
        scale = page.evaluate("atlas.cameraOf().scale")
        ring = [pixel(page, x + 9 / scale * np.cos(a), 1 - y + 9 / scale * np.sin(a)) for a in (0.8, 2.4, 4)]
        assert min(np.abs(np.subtract(one, ACCENT)).max() for one in ring) < 60
    assert state(page)["image"] == str(RIGHT)
    assert "its icons are not made yet" in rows.nth(2).inner_text()


def test_from_a_patch_to_its_image_and_back_to_the_cell(opened):
    page = opened("#grid=8&cell=8.3.3")
    page.wait_for_selector("#detail .nine button")
    image = int(page.locator(".nine button").first.get_attribute("aria-label").split()[1].strip(","))
    page.locator(".nine button").first.click()
    page.wait_for_selector("#image-layers button")
    assert page.inner_text("#detail h2") == f"image-{image}.jpg"
    page.get_by_role("button", name="Back to the cell").click()
    page.wait_for_selector("#detail .nine button")
    assert (state(page)["image"], state(page)["cell"]) == ("", "8.3.3")
    # The keyboard closes the panel of an image too.
    page.locator(".nine button").first.click()
    page.wait_for_selector("#image-layers button")
    page.focus("#map")
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()


def test_images_are_found_by_predicted_class_and_where_it_is_wrong(opened):
    page = opened("#grid=8")
    page.fill("#find", "dog")
    until(page, "document.querySelectorAll('#find-list li').length >= 2")
    options = page.locator("#find-list li").all_inner_texts()
    num_dogs = sum((image % 5 + is_wrong(image)) % 5 == CLASSES.index("dog") for image in WHOLE.tolist())
    assert [one.split("\n") for one in options[:2]] == [
        ["dog", "label, 80 images"],
        ["dog", f"predicted class, {num_dogs} of 100 images shown whole"],
    ]
    page.locator("#find-list li").nth(1).click()
    until(page, "atlas.state.found === 'predicted:3'")
    until(
        page, f"document.getElementById('found-words').textContent === '{num_dogs} images predicted as dog'"
    )
    page.wait_for_selector("#found-images button")
    dogs = [i for i in WHOLE.tolist() if (i % 5 + is_wrong(i)) % 5 == 3]
    assert page.locator("#found-images .gallery button").count() == min(12, num_dogs)
    label = page.locator("#found-images .gallery button").first.get_attribute("aria-label")
    assert label == f"Image {dogs[0]}, image-{dogs[0]}.jpg, label {CLASSES[dogs[0] % 5]}, predicted dog"
    page.locator("#found-images .gallery button").first.click()
    page.wait_for_selector("#image-layers button")
    assert page.inner_text("#detail h2") == f"image-{dogs[0]}.jpg"
    # All wrong predictions, and no others.
    page.fill("#find", "wrong")
    until(page, "document.querySelector('#find-list li')?.textContent.includes('Wrong predictions')")
    page.locator("#find-list li").first.click()
    wrong = sum(map(is_wrong, WHOLE.tolist()))
    until(page, f"document.getElementById('found-words').textContent === '{wrong} images predicted wrongly'")
    until(page, "atlas.litHere().points?.x.length")
    xs = sorted(page.evaluate("atlas.litHere().points.x"))
    assert xs == pytest.approx(sorted(images_xy(0)[[i for i in WHOLE.tolist() if is_wrong(i)], 0]), abs=1e-4)
    page.get_by_role("button", name="Next", exact=True).click()
    assert page.inner_text("#found-images .note").startswith(f"13 to 24 of {wrong}")


def beside_pixel(page, x, y):
    return page.evaluate(
        """([x, y]) => { const { left, top, scale } = atlas.besideCamera();
        const map = document.getElementById("beside-map");
        const at = [left + x * scale, top + y * scale].map((n) => Math.round(n * devicePixelRatio));
        return [...map.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3); }""",
        [x, y],
    )


def at_beside(page, row, col, grid):
    """Position of a cell of the second map on the page."""
    return page.evaluate(
        """([x, y]) => { const { left, top, scale } = atlas.besideCamera();
        const box = document.getElementById("beside-map").getBoundingClientRect();
        return [box.left + left + x * scale, box.top + top + y * scale]; }""",
        [(col + 0.5) / grid, (row + 0.5) / grid],
    )


def members(layer, row, col, grid=8):
    """Numbers of the images in a cell of a layer."""
    x, y = images_xy(layer).T
    return np.flatnonzero(((x * grid).astype(int) == col) & (((1 - y) * grid).astype(int) == row))


def opened_twice(opened, link="#grid=8&labels=false", **how):
    page = opened(link, **how)
    page.get_by_role("button", name="Two layers side by side").click()
    until(page, "atlas.besideGrid() !== null")
    settle(page)
    return page


def test_two_layers_stand_side_by_side_and_each_has_its_own_icons(opened):
    page = opened_twice(opened, "#grid=8&labels=false&full=true")
    assert state(page)["beside"] == "late"
    left, right = (page.locator(one).bounding_box() for one in ("#map", "#beside-map"))
    assert left["x"] + left["width"] <= right["x"] + 1
    assert abs(left["width"] - right["width"]) < 3
    for row, col in full_cells(8, 1)[5:40:9]:
        wanted = [255 * col / 8, 255 * row / 8, 128]
        assert beside_pixel(page, (col + 0.5) / 8, (row + 0.5) / 8) == pytest.approx(wanted, abs=NEAR)
    page.get_by_role("button", name="Swap the two maps").click()
    settle(page)
    assert (state(page)["layer"], state(page)["beside"]) == ("late", "early")
    # The link holds both; a layer never stands beside itself.
    again = opened("#layer=late&beside=late")
    assert (state(again)["beside"], again.locator("#beside").is_visible()) == ("", False)
    page.get_by_role("button", name="Close the second map").click()
    assert not page.locator("#beside").is_visible()


def test_pointing_at_a_cell_lights_its_images_on_the_other_map(opened):
    page = opened_twice(opened)
    row, col = full_cells()[20]
    page.mouse.move(*at_cell(page, row, col, 8))
    until(page, "atlas.linkedIn('late', atlas.besideGrid())?.x.length > 0")
    settle(page)
    images = members(0, row, col)
    there = images_xy(1)[images]
    cells = {(int((1 - y) * 8), int(x * 8)) for x, y in there}
    assert page.inner_text("#beside-status") == (
        f"{len(images)} images of a cell of early, in {len(cells)} cell{'s' * (len(cells) > 1)} of late"
    )
    for x, y in there:
        assert np.abs(np.subtract(beside_pixel(page, x, 1 - y), INK)).max() < 40
    # And back: a cell of the second map lights its images on the first.
    row, col = full_cells(8, 1)[33]
    page.mouse.move(*at_beside(page, row, col, 8))
    until(page, "atlas.linkedIn('early', atlas.gridShown())?.x.length > 0")
    settle(page)
    for x, y in images_xy(0)[members(1, row, col)]:
        assert np.abs(np.subtract(pixel(page, x, 1 - y), INK)).max() < 40
    numbers = numbers_of(images_xy(1), 8, ())
    count = numbers.count[(numbers.row == row) & (numbers.col == col)][0]
    assert f"Average of {count} activation" in page.inner_text("#tip")
    # Selecting it lights them in every layer.
    page.mouse.down()
    page.mouse.up()
    until(page, "atlas.litHere().points?.x.length > 0")
    assert page.inner_text("#found-words") == f"{count} images of a region of late"
    page.mouse.move(5, 5)
    settle(page)
    x, y = images_xy(0)[members(1, row, col)][0]
    assert np.abs(np.subtract(pixel(page, x, 1 - y), ACCENT)).max() < 60


def test_a_chosen_cell_keeps_its_images_lit_on_the_second_map(opened):
    page = opened_twice(opened)
    row, col = full_cells()[20]
    page.evaluate("([x, y]) => atlas.pickAt(x, y)", [(col + 0.5) / 8, (row + 0.5) / 8])
    page.wait_for_selector("#detail:not([hidden])")
    until(page, "atlas.linkedIn('late', atlas.besideGrid())?.x.length > 0")
    settle(page)
    x, y = images_xy(1)[members(0, row, col)][0]
    assert np.abs(np.subtract(beside_pixel(page, x, 1 - y), INK)).max() < 40
    # The panel covers neither map.
    panel, right = (page.locator(one).bounding_box() for one in ("#detail", "#beside-map"))
    assert right["x"] + right["width"] <= panel["x"] + 1


def test_an_image_is_ringed_on_both_maps(opened):
    page = opened_image(opened, RIGHT, "#grid=8&labels=false")
    page.get_by_role("button", name="Follow it in two layers side by side").click()
    until(page, "atlas.besideGrid() !== null && atlas.imagePlaces('late') !== null")
    settle(page)
    x, y = images_xy(1)[RIGHT]
    scale = page.evaluate("atlas.besideCamera().scale")
    ring = [
        beside_pixel(page, x + 9 / scale * np.cos(angle), 1 - y + 9 / scale * np.sin(angle))
        for angle in np.arange(0.4, 6.2, 0.7)
    ]
    assert min(np.abs(np.subtract(one, ACCENT)).max() for one in ring) < 60


def test_the_second_map_is_moved_by_wheel_and_drag_and_by_keys_alone(opened):
    page = opened_twice(opened)
    before = page.evaluate("atlas.besideCamera().scale")
    page.mouse.move(*at_beside(page, 4, 4, 8))
    page.mouse.wheel(0, -400)
    until(page, "(before) => atlas.besideCamera().scale > 1.5 * before", before)
    left = page.evaluate("atlas.besideCamera().left")
    page.mouse.down()
    x, y = at_beside(page, 4, 4, 8)
    page.mouse.move(x + 50, y, steps=4)
    page.mouse.up()
    assert page.evaluate("atlas.besideCamera().left") == pytest.approx(left + 50, abs=2)
    assert state(page)["found"] == ""
    page.focus("#beside-map")
    page.keyboard.press("0")
    assert page.evaluate("atlas.besideCamera().scale") == pytest.approx(before)
    page.keyboard.press("ArrowDown")
    first = page.inner_text("#said")
    page.keyboard.press("ArrowDown")
    second = page.inner_text("#said")
    rows = [int(words.split()[1].strip(",")) for words in (first, second)]
    assert rows[1] == rows[0] + 1
    assert "lit in early" in second
    page.keyboard.press("Enter")
    assert state(page)["found"].startswith("box:late:all:")
    page.keyboard.press("l")
    assert not page.locator("#beside").is_visible()
    assert page.evaluate("document.activeElement.id") == "map"
    page.keyboard.press("l")
    assert page.locator("#beside").is_visible()


@pytest.mark.parametrize(("width", "height"), [(820, 1180), (390, 844)])
def test_on_a_narrow_screen_the_maps_lie_one_below_the_other(opened, width, height):
    page = opened(
        f"#grid=8&beside=late&image={RIGHT}&found=image:{RIGHT}", viewport={"width": width, "height": height}
    )
    page.wait_for_selector("#image-layers button")
    settle(page)
    first, second, panel = (page.locator(one).bounding_box() for one in ("#map", "#beside-map", "#detail"))
    assert first["y"] + first["height"] <= second["y"]
    assert second["y"] + second["height"] <= panel["y"] + 1
    assert min(first["height"], second["height"]) > 120
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_an_image_that_only_its_patch_made_known_is_found_and_followed(opened, tmp_path):
    folder = make_viewer(tmp_path, grids=(8,), num_known=100)
    page = opened_image(opened, 300, folder=folder)
    assert page.inner_text("#detail h2") == "image-300.jpg"
    until(page, "atlas.litHere().points?.x.length === 1")
    assert page.evaluate("atlas.litHere().points.x")[0] == pytest.approx(images_xy(0)[300, 0], abs=1e-4)
    # Images that are known for their patches are no random part of all: a region does not count them.
    page.evaluate("atlas.set({found: 'box:early:all:0,0,1,1', image: ''})")
    until(page, "document.getElementById('found-words').textContent.startsWith('100 images of a region')")
    page.fill("#find", "#301")
    assert page.locator("#find-list li").all_inner_texts() == [
        "Image 301 is not among the 175 that can be found"
    ]


def test_an_image_without_a_picture_is_followed_and_says_why_it_is_not_shown(opened):
    page = opened_image(opened, 37)
    assert "Its picture is not in this folder" in page.inner_text("#detail figcaption")
    assert "not known" in page.locator("#detail .numbers dd").all_inner_texts()[1]
    until(page, "document.querySelectorAll('#image-layers .icon').length === 2")


def test_several_positions_are_numbered_and_all_ringed(opened, tmp_path):
    folder = make_viewer(tmp_path, grids=(8,), positions=2)
    page = opened_image(opened, RIGHT, folder=folder)
    until(page, "atlas.imagePlaces('early') !== null")
    xs = page.evaluate("atlas.imagePlaces('early').x")
    assert xs == pytest.approx(activations_xy(0, 2)[[2 * RIGHT, 2 * RIGHT + 1], 0], abs=1e-4)
    caption = page.inner_text("#detail figcaption")
    for ordinal in (0, 1):
        row, col = position_of(RIGHT, ordinal)
        assert f"row {row + 1}, column {col + 1} of 6 × 8" in caption


def test_a_run_without_whole_images_has_no_pictures_and_asks_for_none(opened, tmp_path):
    folder = make_viewer(tmp_path, grids=(8,), wholeImages=0)
    for file in (folder / "whole_images").iterdir():
        file.unlink()
    page = opened_image(opened, RIGHT, folder=folder)
    assert "Its picture is not in this folder" in page.inner_text("#detail figcaption")
    page.fill("#find", "dog")
    assert page.locator("#find-list li").all_inner_texts() == ["dog\nlabel, 80 images"]
