"""Names on the map."""

from dataclasses import replace

import numpy as np
from making_viewer import CLASSES, images_xy, make_viewer, numbers_of, write
from seeing import settle

from atlas_pipeline.viewer.grid_files import number_file

# Draw something onto a canvas of its own -> [[words, x, width], ...].
DRAWN = """(draw) => { const context = new OffscreenCanvas(1, 1).getContext("2d"), drawn = [];
    context.fillText = (words, x) => drawn.push([words, x, context.measureText(words).width]);
    draw(context);
    return drawn; }"""
NAMES = f"({DRAWN})((context) => atlas.drawLabels(context, atlas.shown(), atlas.camera()))"


def test_a_class_at_both_edges_has_its_name_at_both(opened, tmp_path):
    folder = make_viewer(tmp_path, grids=(8,))
    numbers = numbers_of(images_xy(0), 8, CLASSES)
    attribution = np.zeros_like(numbers.attribution)
    # Ant on two columns at the left and at the right, cat between.
    attribution[np.arange(len(numbers.col)), np.where((numbers.col < 2) | (numbers.col > 5), 0, 2)] = 1
    write(
        folder / "early" / "all" / "tiles-8",
        {"grid.js": number_file(replace(numbers, attribution=attribution))},
    )
    page = opened("", folder)
    ants = [x for words, x, _ in page.evaluate(NAMES) if words == "ant"]
    left, middle = page.evaluate("[atlas.camera().left, atlas.camera().width / 2]")
    assert any(left < x < middle for x in ants)
    assert any(x > middle for x in ants)


def test_names_of_a_zoom_that_was_seen_are_not_looked_for_again(opened):
    page = opened("#grid=8")
    page.evaluate("""() => { const plain = atlas.cosine; window.looked = 0;
        atlas.cosine = (...cell) => (window.looked++, plain(...cell)); }""")
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
