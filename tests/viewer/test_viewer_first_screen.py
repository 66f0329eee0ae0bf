"""The first screen: a map that fills it and explains itself; the tour, the keyboard, the theme, Back."""

import numpy as np
import pytest
from making_viewer import images_xy, make_viewer, numbers_of, write
from seeing import NEAR, at_cell, centre, full_cells, pixel, settle, state, until

from atlas_pipeline.viewer.grid_files import number_file, overview_files

LABELS = ("ant", "bee", "cat", "dog", "emu")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1920, 1080), (820, 1180), (390, 844)])
def test_the_page_says_what_an_icon_is_and_what_one_can_do(opened, width, height):
    page = opened("#grid=8", viewport={"width": width, "height": height}, has_touch=width < 500)
    words = page.inner_text("#intro")
    assert "Each icon is an image made to excite this layer" in words
    assert ("Tap one" if width < 500 else "Point at one") in words
    assert page.locator("#intro").is_visible()
    # Nothing is wider than the window, and the map has its place below the line.
    assert page.evaluate("document.documentElement.scrollWidth") == width
    intro, stage = (page.locator(one).bounding_box() for one in ("#intro", "#map"))
    assert intro["y"] + intro["height"] <= stage["y"] + 1
    assert intro["height"] < 80


def narrow(folder):
    """Keep only the cells of the four middle columns of the grid of 8."""
    numbers = numbers_of(images_xy(0), 8, LABELS)
    kept = (numbers.col > 1) & (numbers.col < 6)
    fields = {name: getattr(numbers, name)[kept] for name in ("row", "col", "count", "attribution")}
    measures = {name: values[kept] for name, values in numbers.measures.items()}
    others = {
        name: getattr(numbers, name) for name in ("grid", "px", "activations", "labels", "class_indices")
    }
    narrowed = type(numbers)(**fields, **others, measures=measures)
    icons = [np.full((32, 32, 3), 90, np.uint8)] * kept.sum()
    files = {"grid.js": number_file(narrowed), **overview_files(narrowed, lambda: icons)}
    write(folder / "early" / "all" / "tiles-8", files)


def test_the_map_is_fitted_to_the_window_and_again_when_that_changes(opened, tmp_path):
    narrow(make_viewer(tmp_path, grids=(8,)))
    page = opened("", tmp_path)
    for width, height in ((1200, 800), (500, 900), (1200, 500)):
        page.set_viewport_size({"width": width, "height": height})
        settle(page)
        left, top, right, bottom, w, h = page.evaluate(
            """() => { const { left, top, scale, width, height } = atlas.cameraOf();
            return [left + 0.25 * scale, top, left + 0.75 * scale, top + scale, width, height]; }"""
        )
        assert max((right - left) / w, (bottom - top) / h) == pytest.approx(0.94, abs=0.01)
        # In the middle, or as near to it as leaves the zoom buttons free.
        buttons = page.locator("#zooms").bounding_box()["x"] - page.locator("#map").bounding_box()["x"]
        middle = min(w / 2, buttons - 10 - (right - left) / 2)
        assert (left + right) / 2 == pytest.approx(middle, abs=1)
    # A map that was moved by hand stays where it is.
    page.evaluate("atlas.set({x: 0.3, y: 0.3, z: 3})")
    page.set_viewport_size({"width": 900, "height": 700})
    settle(page)
    assert [state(page)[name] for name in "xyz"] == [0.3, 0.3, 3]
    page.get_by_role("button", name="The whole map").click()
    until(page, "atlas.state.z < 1.9 && atlas.isWholeSeen()")


def cells_under(page, name):
    """The places of the cells that lie under an element, as numbers of the grid's cells, row by row."""
    return page.evaluate(
        """(name) => { const map = document.getElementById("map").getBoundingClientRect(),
        box = document.getElementById(name).getBoundingClientRect(), { size, at } = atlas.gridShown(),
        { left, top, scale } = atlas.cameraOf(), cell = scale / size, found = [];
        at.forEach((cellNumber, place) => {
          const [row, col] = [Math.floor(place / size), place % size];
          const x = map.left + left + col * cell, y = map.top + top + row * cell;
          const isUnder = x < box.right && x + cell > box.left && y < box.bottom && y + cell > box.top;
          if (cellNumber >= 0 && isUnder) found.push(place);
        });
        return found; }""",
        name,
    )


SIZES = [(1440, 900), (900, 900), (820, 1180), (390, 844)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_buttons_and_the_legend_lie_on_no_icon_of_the_whole_map(opened, width, height):
    page = opened("#grid=8&labels=false", viewport={"width": width, "height": height}, has_touch=width < 500)
    settle(page)
    assert page.evaluate("atlas.isWholeSeen()")
    assert cells_under(page, "zooms") == []
    # Only as much smaller as that takes.
    assert page.evaluate("atlas.state.z") > 0.75
    page.evaluate("atlas.set({colour: 'classes'})")
    settle(page)
    assert page.locator("#legend").is_visible()
    assert page.evaluate("atlas.isWholeSeen()")
    assert cells_under(page, "zooms") == cells_under(page, "legend") == []
    assert page.evaluate("atlas.state.z") > 0.65
    # A map that was moved by hand stays where it is.
    page.evaluate("atlas.set({x: 0.3, y: 0.3, z: 3, colour: ''})")
    page.evaluate("atlas.set({colour: 'classes'})")
    settle(page)
    assert [state(page)[name] for name in "xyz"] == [0.3, 0.3, 3]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_panel_that_an_address_opens_covers_no_icon(opened, width, height):
    size = {"viewport": {"width": width, "height": height}, "has_touch": width < 500}
    page = opened("#grid=8&labels=false&cell=8.3.3", **size)
    until(page, "!document.getElementById('detail').hidden")
    settle(page)
    assert page.evaluate("atlas.isWholeSeen()")
    assert cells_under(page, "detail") == cells_under(page, "zooms") == []
    small = state(page)["z"]
    page.get_by_role("button", name="Close", exact=True).click()
    until(page, "document.getElementById('detail').hidden")
    settle(page)
    # The whole window is the map's again. A panel that a click on a cell beside it opens does not move it.
    assert page.evaluate("atlas.isWholeSeen()")
    assert state(page)["z"] >= small
    place = [state(page)[name] for name in "xyz"]
    assert place == [state(opened("#grid=8&labels=false", **size))[name] for name in "xyz"]
    page.evaluate("([x, y]) => atlas.pickAt(x, y)", centre(0, 3, 8))
    settle(page)
    assert [state(page)[name] for name in "xyz"] == place


def test_a_panel_that_leaves_no_room_lies_on_the_map(opened):
    page = opened("#grid=8&cell=8.3.3", viewport={"width": 390, "height": 190}, has_touch=True)
    until(page, "!document.getElementById('detail').hidden")
    settle(page)
    assert page.evaluate("atlas.isWholeSeen()")


def test_the_minimap_is_there_when_a_part_is_seen_and_shows_the_grid_of_the_map(opened):
    page = opened("#labels=false&full=true")
    assert not page.locator("#minimap").is_visible()
    for grid in (8, 32):
        page.evaluate("(grid) => atlas.set({z: 4, grid})", grid)
        settle(page)
        assert page.locator("#minimap").is_visible()
        # A place within the frame, in a column whose red differs between the grids.
        red = page.evaluate(
            """() => { const canvas = document.getElementById("minimap"), at = (15.5 / 32) * canvas.width;
            return canvas.getContext("2d").getImageData(at, at, 1, 1).data[0]; }"""
        )
        assert red == pytest.approx(255 * (15 * grid // 32) / grid, abs=NEAR)


def test_behind_the_icons_is_a_ground_that_follows_the_density(opened):
    page = opened("#grid=8&labels=false")
    ground = page.evaluate(
        """() => { const field = atlas.smoothDensity({ size: 4, cells: 1, count: [9], row: [1], col: [1] });
        const at = (x, y) => field[Math.floor(y * 256) * 256 + Math.floor(x * 256)];
        return [at(0.375, 0.375), at(0.5, 0.375), at(0.375, 0.5), at(0.9, 0.9), at(0.375, 0.95)]; }"""
    )
    inside, right, below, far, lower = ground
    assert inside > 0.45
    assert right == pytest.approx(below, abs=1e-5)
    assert 0.2 < right < 0.8 * inside
    assert far == lower == pytest.approx(0, abs=1e-6)


def test_a_measure_called_ground_does_not_hide_the_map(opened, tmp_path):
    folder = make_viewer(tmp_path, grids=(8,))
    numbers = numbers_of(images_xy(0), 8, LABELS)
    fields = {name: getattr(numbers, name) for name in numbers.__dataclass_fields__}
    measures = {**numbers.measures, "ground": np.full(len(numbers.row), 0.3)}
    files = {"grid.js": number_file(type(numbers)(**{**fields, "measures": measures}))}
    write(folder / "early" / "all" / "tiles-8", files)
    page = opened("#grid=8&labels=false&full=true", folder)
    assert len(page.evaluate("atlas.gridShown().ground")) == len(numbers.row)
    row, col = full_cells()[20]
    wanted = [255 * col / 8, 255 * row / 8, 128]
    assert pixel(page, *centre(row, col, 8)) == pytest.approx(wanted, abs=NEAR)


def test_the_first_tab_is_on_the_map_where_the_keys_work_at_once(opened):
    page = opened("#grid=8&z=2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "map"
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail:not([hidden])")


def test_a_tour_of_four_steps_over_the_runs_own_places(opened):
    page = opened("")
    assert "New to activation atlases?" in page.inner_text("#tour")
    page.get_by_role("button", name="Show me").click()
    titles = []
    for step in range(4):
        assert f"{step + 1} of 4" in page.inner_text("#tour")
        titles.append(page.inner_text("#tour h2"))
        words = page.inner_text("#tour p")
        if step == 0:
            # The cell in the middle of the map is the one that is told of.
            grid = page.evaluate("atlas.gridShown().size")
            row, col = int(state(page)["y"] * grid), int(state(page)["x"] * grid)
            numbers = numbers_of(images_xy(0), 8, LABELS)
            if grid == 8:
                count = numbers.count[(numbers.row == row) & (numbers.col == col)][0]
                assert words.startswith(f"{count} activations")
        if step == 1:
            assert page.locator("#detail").is_visible()
            assert "Fidelity" in words
        if step == 2:
            assert not page.locator("#detail").is_visible()
            assert "100 % agree on a class" in words
        if step == 3:
            assert state(page)["lit"] != ""
        page.locator("#tour .actions button").last.click()
    assert titles == ["An icon", "Its evidence", "A region", "A class lit up"]
    assert not page.locator("#tour").is_visible()
    assert (state(page)["lit"], state(page)["cell"]) == ("", "")
    # Never twice: not after a reload, and not on a link.
    page.evaluate("atlas.set({x: 0.5, y: 0.5, z: 1})")
    page.wait_for_timeout(400)
    page.goto(page.url.partition("#")[0] + "?again")
    settle(page)
    assert not page.locator("#tour").is_visible()
    # It can be asked for again.
    page.get_by_role("button", name="Take the tour").first.click()
    assert page.inner_text("#tour h2") == "An icon"


def test_the_tour_can_be_skipped_by_key_and_a_link_does_not_offer_it(opened):
    page = opened("#grid=8")
    assert not page.locator("#tour").is_visible()
    page.get_by_role("button", name="Take the tour").first.click()
    page.keyboard.press("Escape")
    assert not page.locator("#tour").is_visible()
    assert page.evaluate("document.activeElement.id") == "map"


def test_the_theme_is_remembered(opened):
    page = opened("#grid=8")
    page.get_by_role("button", name="Dark").click()
    page.reload()
    settle(page)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.get_by_role("button", name="Light").is_visible()


def test_back_goes_back_and_forward_again(opened):
    page = opened("#grid=8&z=2")
    row, col = full_cells()[20]
    written = "location.hash.includes"
    page.evaluate("([x, y]) => atlas.pickAt(x, y)", centre(row, col, 8))
    until(page, f"{written}('cell=')")
    page.evaluate("atlas.set({lit: '2'})")
    until(page, f"{written}('lit=2')")
    page.go_back()
    until(page, "atlas.state.lit === ''")
    assert state(page)["cell"] == f"8.{row}.{col}"
    assert page.locator("#detail").is_visible()
    page.go_back()
    until(page, "atlas.state.cell === ''")
    assert not page.locator("#detail").is_visible()
    assert (state(page)["grid"], state(page)["z"]) == (8, 2)
    page.go_forward()
    until(page, "atlas.state.cell !== ''")
    # Moves of the map are no steps of their own.
    length = page.evaluate("history.length")
    page.evaluate("atlas.set({x: 0.4})")
    until(page, f"{written}('x=0.4')")
    assert page.evaluate("history.length") == length


def test_the_tooltip_never_covers_the_panel(opened):
    page = opened("#grid=8&cell=8.3.3")
    page.wait_for_selector("#detail:not([hidden])")
    panel = page.locator("#detail").bounding_box()
    for row, col in ((3, 4), (0, 4), (7, 4)):
        page.mouse.move(*at_cell(page, row, col, 8))
        page.wait_for_selector("#tip:not([hidden])")
        tip = page.locator("#tip").bounding_box()
        assert tip["x"] + tip["width"] <= panel["x"]
        assert tip["y"] >= 0
        assert tip["y"] + tip["height"] <= 800


def test_patches_are_above_the_fold_and_the_range_goes_to_the_farthest(opened):
    page = opened("#grid=8&cell=8.3.3", viewport={"width": 1440, "height": 900})
    page.wait_for_selector("#detail .range button")
    nine = page.locator("#detail .nine").bounding_box()
    assert nine["y"] + nine["height"] < 450
    shown = page.locator("#detail .range button").all_inner_texts()
    assert shown == ["1.00", "0.90", "0.80", "0.70", "0.60", "0.50", "0.40"]
    levels = page.locator("#detail .range canvas").evaluate_all(
        "all => all.map((canvas) => canvas.getContext('2d').getImageData(8, 8, 1, 1).data[2])"
    )
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 2 * levels[-1]
    # Every number has its meaning beside it, and a cosine its place between noise and the nearest real one.
    numbers = page.locator("#detail .numbers > div")
    assert numbers.count() >= 4
    for one in range(numbers.count()):
        assert numbers.nth(one).locator(".note").inner_text()
    assert numbers.filter(has_text="Fidelity").locator(".scale .baseline").count() == 2


def test_a_cell_that_agrees_on_no_class_is_called_by_its_patches(opened, tmp_path):
    folder = make_viewer(tmp_path, grids=(8,))
    numbers = numbers_of(images_xy(0), 8, LABELS)
    measures = {**numbers.measures, "consistency": np.full(64, 0.2)}
    fields = {name: getattr(numbers, name) for name in numbers.__dataclass_fields__}
    write(
        folder / "early" / "all" / "tiles-8",
        {"grid.js": number_file(type(numbers)(**{**fields, "measures": measures}))},
    )
    page = opened("#grid=8&cell=8.0.0", folder)
    page.wait_for_selector("#detail .nine button")
    assert page.inner_text("#detail h2") == "pond"
    assert "9 of its 9 nearest patches" in page.inner_text("#detail header")
    page.evaluate("atlas.set({cell: '8.0.1'})")
    until(page, "document.querySelector('#detail .kicker').textContent.startsWith('Speaks for many')")
    assert "only 20 % of its activations agree" in page.inner_text("#detail header")
