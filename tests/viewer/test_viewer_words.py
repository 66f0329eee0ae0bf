"""Words on and around the map: names of regions, ends of an axis, meaning of the dots, path labels."""

from dataclasses import replace

import numpy as np
import pytest
from making_viewer import CLASSES, images_xy, make_viewer, numbers_of, write
from seeing import settle, state, until

from atlas_pipeline.viewer.grid_files import number_file

# Call a draw function on a separate canvas and return its text, [[words, x, width], ...].
DRAWN = """(draw) => { const context = new OffscreenCanvas(1, 1).getContext("2d"), drawn = [];
    context.fillText = (words, x) => drawn.push([words, x, context.measureText(words).width]);
    draw(context);
    return drawn; }"""
NAMES = f"({DRAWN})((context) => atlas.drawLabels(context, atlas.gridShown(), atlas.cameraOf()))"


def test_a_class_at_both_edges_has_its_name_at_both(opened, tmp_path):
    folder = make_viewer(tmp_path, grids=(8,))
    numbers = numbers_of(images_xy(0), 8, CLASSES)
    attribution = np.zeros_like(numbers.attribution)
    # Class ant has the two leftmost and the two rightmost columns, cat the others.
    attribution[np.arange(len(numbers.col)), np.where((numbers.col < 2) | (numbers.col > 5), 0, 2)] = 1
    write(
        folder / "early" / "all" / "tiles-8",
        {"grid.js": number_file(replace(numbers, attribution=attribution))},
    )
    page = opened("", folder)
    ants = [x for words, x, _ in page.evaluate(NAMES) if words == "ant"]
    left, middle = page.evaluate("[atlas.cameraOf().left, atlas.cameraOf().width / 2]")
    assert any(left < x < middle for x in ants)
    assert any(x > middle for x in ants)


def test_names_of_a_zoom_that_was_seen_are_not_looked_for_again(opened):
    page = opened("#grid=8")
    page.evaluate("""() => { window.looked = 0;
        Object.defineProperty(atlas.gridShown(), "consistency", { get: () => void window.looked++ }); }""")
    looked = []
    names = []
    for zoom in (0.6, 0.7, 0.6):
        page.evaluate("(z) => atlas.set({z})", zoom)
        names.append(page.evaluate(NAMES))
        settle(page)
        looked.append(page.evaluate("window.looked"))
    assert 0 < looked[0] < looked[1] == looked[2]
    assert names[0] == names[2]
    assert names[0]


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
