"""Words on and around the map: names of regions, ends of an axis, meaning of the dots, path labels."""

import numpy as np
import pytest
from making_viewer import CLASSES, images_xy, make_viewer, numbers_of, write
from seeing import settle, state, until

from atlas_pipeline.numerics.region_names import GridClasses, region_names
from atlas_pipeline.viewer.name_files import name_file

# Call a draw function on a separate canvas and return its text, [[words, x, width], ...].
DRAWN = """(draw) => { const context = new OffscreenCanvas(1, 1).getContext("2d"), drawn = [];
    context.fillText = (words, x) => drawn.push([words, x, context.measureText(words).width]);
    draw(context);
    return drawn; }"""
NAMES = f"({DRAWN})((context) => atlas.drawLabels(context, atlas.gridShown(), atlas.cameraOf()))"


def stripes(folder, agreement):
    """Name the map: ants in the two leftmost and rightmost columns of the grid of 8, cats in the others."""
    numbers = numbers_of(images_xy(0), 8, CLASSES)
    top = np.where((numbers.col < 2) | (numbers.col > 5), 0, 2)
    level = GridClasses(
        grid=8,
        cells=np.column_stack([numbers.row, numbers.col]),
        classes=top,
        counts=numbers.count,
        agreement=np.where(top == 0, agreement, 0.9),
    )
    write(folder / "early" / "all", {"names.js": name_file(region_names([level]), CLASSES)})


def striped(opened, folder, agreement, link=""):
    """A page of a map of stripes, with its names loaded."""
    stripes(make_viewer(folder, grids=(8,)), agreement)
    page = opened(link, folder)
    until(page, "atlas.viewNames()")
    return page


def test_a_class_at_both_edges_has_its_name_at_both(opened, tmp_path):
    page = striped(opened, tmp_path, 0.5)
    ants = [x for words, x, _ in page.evaluate(NAMES) if words == "ant"]
    left, middle = page.evaluate("[atlas.cameraOf().left, atlas.cameraOf().width / 2]")
    assert any(left - 60 < x < middle for x in ants)
    assert any(x > middle for x in ants)


def test_a_region_whose_activations_disagree_has_no_name_at_any_zoom(opened, tmp_path):
    page = striped(opened, tmp_path, 0.49, "#z=1&x=0.2")
    assert [words for words, *_ in page.evaluate(NAMES)] == ["cat"]
    # Cells fill the screen here, and still have no name.
    page.evaluate("atlas.set({x: 0.1, y: 0.5, z: 12})")
    settle(page)
    assert page.evaluate(NAMES) == []


def test_no_edge_of_the_map_cuts_a_name(opened, tmp_path):
    page = striped(opened, tmp_path, 0.9)
    middles = [x for words, x, _ in page.evaluate(NAMES) if words == "ant"]
    left, width = page.evaluate("[atlas.cameraOf().left, atlas.cameraOf().width]")
    scale = page.evaluate("atlas.cameraOf().scale")
    # The middle of a name comes to lie just inside the left edge, just inside the right edge, just outside.
    for middle, wanted, is_named in (
        (min(middles), 5, True),
        (max(middles), width - 5, True),
        (min(middles), -5, False),
    ):
        page.evaluate("(x) => atlas.set({x})", (middle - left + width / 2 - wanted) / scale)
        ends = [(at - long / 2, at + long / 2) for words, at, long in page.evaluate(NAMES) if words == "ant"]
        assert all(start >= 0 and end <= width for start, end in ends)
        near = [one for one in ends if min(abs(one[0] - wanted), abs(one[1] - wanted)) < 15]
        assert len(near) == is_named


def test_names_keep_their_places_when_the_window_changes(opened):
    places = """() => { const { left, scale } = atlas.cameraOf();
        return (DRAWN)((context) => atlas.drawLabels(context, atlas.gridShown(), atlas.cameraOf()))
            .map(([words, x]) => [words, (x - left) / scale]); }""".replace("DRAWN", DRAWN)
    page = opened("#grid=8&labels=true")
    until(page, "atlas.viewNames()")
    before = dict(map(tuple, page.evaluate(places)))
    assert set(before) == set(CLASSES)
    page.set_viewport_size({"width": 1215, "height": 800})
    settle(page)
    after = dict(map(tuple, page.evaluate(places)))
    assert after == pytest.approx(before, abs=1e-6)


def test_a_highlighted_class_names_its_strongest_cells_with_their_logits(opened):
    page = opened("#grid=8&lit=2")
    until(page, "atlas.attributionOf(atlas.gridShown())")
    numbers = numbers_of(images_xy(0), 8, CLASSES)
    drawn = [words for words, *_ in page.evaluate(NAMES) if "+" in words]
    strongest = numbers.attribution[:, 2].max()
    assert drawn[0] == f"cat +{strongest:.2f}"
    assert 1 < len(drawn) <= 6
    # Where a control covers the foot of the strongest cell, the name lies at its head; where both, nowhere.
    cell = int(numbers.attribution[:, 2].argmax())
    row, col = int(numbers.row[cell]), int(numbers.col[cell])
    for shares, is_named in (([0.88], True), ([0.88, 0.12], False)):
        covers = [[(col + 0.5) / 8, (row + share) / 8] for share in shares]
        found = page.evaluate(
            f"""(covers) => ({DRAWN})((context) => {{
            const camera = atlas.cameraOf(), {{ left, top, scale }} = camera;
            const covered = covers.map(([x, y]) => [left + x * scale, top + y * scale]).map(([x, y]) =>
              ({{ left: x - 2, right: x + 2, top: y - 2, bottom: y + 2 }}));
            atlas.drawLabels(context, atlas.gridShown(), {{ ...camera, covered }}); }})""",
            covers,
        )
        assert (f"cat +{strongest:.2f}" in [words for words, *_ in found]) == is_named
    page.evaluate("atlas.set({lit: ''})")
    assert not [words for words, *_ in page.evaluate(NAMES) if "+" in words]


@pytest.mark.parametrize("zoom", [0.5, 1, 3])
def test_the_ends_of_an_axis_do_not_meet(opened, zoom):
    page = opened(f"#grid=8&z={zoom}")
    draw = f"""([left, right]) => {{ atlas.viewShown().axis = [left, right];
        const drawn = ({DRAWN})((context) => atlas.drawAxis(context, atlas.cameraOf()));
        delete atlas.viewShown().axis;
        return drawn; }}"""
    (left, x0, width0), (right, x1, width1) = page.evaluate(draw, ["wide " * 60, "long " * 60])
    assert x0 + width0 < x1 - width1
    assert (left[:2], left[-1], right[-3:]) == ("← ", "…", "… →")
    assert [words for words, *_ in page.evaluate(draw, ["ant", "emu"])] == ["← ant", "emu →"]


def test_how_many_of_the_activations_the_dots_are(opened):
    page = opened("#layer=bare")
    until(page, "document.getElementById('status').textContent.endsWith('The dots are 400 activations.')")
    page.evaluate("atlas.viewShown().activations = 1000000; atlas.arrived()")
    assert page.inner_text("#status").endswith("The dots are 400 of 1,000,000 activations.")


@pytest.mark.parametrize("link", ["#grid=8", "#layer=bare"])
def test_a_path_can_be_removed_from_its_first_point_on(opened, link):
    page = opened(link)
    page.focus("#map")
    page.keyboard.press("t")
    assert page.inner_text("#strip-words") == "A path of one point: press t to extend it"
    assert not page.locator("#strip-save").is_visible()
    page.get_by_role("button", name="Remove the path").click()
    assert (state(page)["path"], page.locator("#strip").is_visible()) == ("", False)


def test_a_path_in_a_view_without_icons_can_be_removed(opened):
    page = opened("#layer=bare&path=0.1,0.1,0.9,0.9")
    assert page.inner_text("#strip-words") == "No icons along the path"
    page.get_by_role("button", name="Remove the path").click()
    assert not page.locator("#strip").is_visible()


# Run an action, and return the words that the next frame draws on the map: [[words, x, y], ...].
ON_MAP = """async () => { const context = document.getElementById("map").getContext("2d"), drawn = [];
    context.fillText = (words, x, y) => drawn.push([words, x, y]);
    atlas.redraw();
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    delete context.fillText;
    return drawn; }"""


def test_no_name_lies_under_the_buttons_and_a_saved_picture_has_it(opened):
    page = opened("#grid=8&z=2", viewport={"width": 1200, "height": 800})
    until(page, "atlas.viewNames()")
    _, x, y = next(one for one in page.evaluate(ON_MAP) if 100 < one[1] < 700 and 250 < one[2] < 600)
    # Move the map until this name would lie under the button.
    page.evaluate(
        """([x, y]) => { const box = document.getElementById("zoom-out").getBoundingClientRect(),
        map = document.getElementById("map").getBoundingClientRect();
        const [left, top] = [box.left + box.width / 2 - map.left, box.top + box.height / 2 - map.top];
        atlas.panBy(x - left, y - top); }""",
        [x, y],
    )
    page.wait_for_timeout(300)
    left, top, right, bottom = page.evaluate(
        """() => { const box = document.getElementById("zooms").getBoundingClientRect(),
        map = document.getElementById("map").getBoundingClientRect();
        return [box.left - map.left, box.top - map.top, box.right - map.left, box.bottom - map.top]; }"""
    )
    screen = page.evaluate(ON_MAP)
    assert screen
    assert not [one for one in screen if left < one[1] < right and top < one[2] < bottom]
    saved = page.evaluate(
        NAMES.replace("(words, x) =>", "(words, x, y) =>").replace("[words, x,", "[words, x, y,")
    )
    assert [one for one in saved if left < one[1] < right and top < one[2] < bottom]


@pytest.mark.parametrize(("width", "names"), [(390, []), (1200, ["ant"])])
def test_on_a_small_screen_small_regions_have_no_name_until_one_is_nearer(opened, tmp_path, width, names):
    folder = make_viewer(tmp_path, grids=(8,))
    # Two cells of a grid of 16 are 32 pixels wide on a phone, and 60 on a desk.
    level = GridClasses(
        grid=16,
        cells=np.array([[4, 4], [4, 5]]),
        classes=np.array([0, 0]),
        counts=np.array([5, 5]),
        agreement=np.array([0.9, 0.9]),
    )
    write(folder / "early" / "all", {"names.js": name_file(region_names([level]), CLASSES)})
    page = opened("#z=1&x=0.5&y=0.5", folder, viewport={"width": width, "height": 844})
    until(page, "atlas.viewNames()")
    assert [words for words, *_ in page.evaluate(NAMES)] == names
    page.evaluate("atlas.set({x: 0.3, y: 0.3, z: 3})")
    settle(page)
    assert [words for words, *_ in page.evaluate(NAMES)] == ["ant"]
