"""Talk mode: stops are added, shown in turn with their captions, saved as pictures, and are one link."""

import numpy as np
from making_viewer import colour_of
from PIL import Image
from seeing import NEAR, centre, full_cells, settle, state, until


def with_stops(opened):
    """A page with two stops: a cell of the layer early, and the layer late with a class lit up."""
    page = opened("#grid=8&labels=false&full=true")
    page.locator("#talk-box summary").click()
    row, col = full_cells()[20]
    x, y = centre(row, col, 8)
    page.evaluate("([x, y]) => atlas.set({x, y, z: 6})", [x, y])
    page.fill("#stop-caption", "One cell & its icon")
    page.get_by_role("button", name="Add", exact=True).click()
    page.evaluate("atlas.set({layer: 'late', x: 0.5, y: 0.5, z: 1, lit: '2'})")
    page.fill("#stop-caption", "Cats elsewhere")
    page.keyboard.press("Enter")
    return page, (row, col)


def test_keys_go_from_stop_to_stop_with_captions(opened):
    page, (row, col) = with_stops(opened)
    assert page.locator("#stops li").count() == 2
    page.get_by_role("button", name="Present").click()
    until(page, "document.getElementById('talk-caption').textContent === 'One cell & its icon'")
    x, y = centre(row, col, 8)
    assert [state(page)[name] for name in ("layer", "z", "lit")] == ["early", 6, ""]
    assert (state(page)["x"], state(page)["y"]) == (x, y)
    assert page.inner_text("#talk-number") == "1 / 2"
    assert not page.locator("#side").is_visible()
    page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('talk-caption').textContent === 'Cats elsewhere'")
    assert [state(page)[name] for name in ("layer", "z", "lit")] == ["late", 1, "2"]
    # At the last stop a further key stays there.
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#talk-number") == "2 / 2"
    page.keyboard.press("ArrowLeft")
    until(page, "atlas.state.layer === 'early'")
    page.get_by_role("button", name="Leave the talk").click()
    assert not page.locator("#talk").is_visible()
    assert page.locator("#side").is_visible()


def test_the_whole_list_is_one_link(opened):
    page, _ = with_stops(opened)
    again = opened("#" + page.evaluate("atlas.addressOf(atlas.state)"))
    assert again.locator("#stops li").count() == 2
    again.locator("#talk-box summary").click()
    again.locator("#stops .stop").first.click()
    until(again, "atlas.state.layer === 'early' && atlas.state.z === 6")
    again.get_by_role("button", name="Move up: Cats elsewhere").click()
    assert [words.strip() for words in again.locator("#stops bdi").all_inner_texts()] == [
        "Cats elsewhere",
        "One cell & its icon",
    ]
    again.get_by_role("button", name="Remove: Cats elsewhere").click()
    assert again.locator("#stops li").count() == 1


def test_every_stop_is_saved_as_a_picture_of_16_to_9(opened):
    page, (row, col) = with_stops(opened)
    until(page, "atlas.attributionOf(atlas.gridShown())")
    settle(page)
    before = state(page)
    files = []
    page.on("download", lambda download: files.append(download))
    page.get_by_role("button", name="Save 16:9 PNGs").click()
    until(page, "document.getElementById('notice').textContent === '2 pictures saved.'")
    page.wait_for_timeout(200)
    assert [one.suggested_filename for one in files] == ["made-stop-01.png", "made-stop-02.png"]
    first, second = (Image.open(one.path()).convert("RGB") for one in files)
    assert first.size == second.size == (1920, 1080)
    # The first stop's cell is in the middle of its map.
    middle = first.getpixel((960, (1080 - 130) // 2))
    assert np.abs(np.subtract(middle, colour_of(row, col, 8))).max() < NEAR
    # Both have a caption, and the second has the legend of its class.
    foot = [np.asarray(one.convert("L"))[960:, 48:600] for one in (first, second)]
    assert all(part.min() < 90 for part in foot)
    legend = np.asarray(second.convert("L"))[850:940, 48:260]
    assert legend.min() < 90
    assert np.median(legend) > 245
    settle(page)
    assert state(page) == before
