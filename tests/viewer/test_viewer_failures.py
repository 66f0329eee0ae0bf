"""Files that cannot be loaded: the page says so, and retries on a user's choice but not on a redraw."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from making_viewer import images_xy, make_viewer, numbers_of, write
from seeing import choose_colour, until

from atlas_pipeline.viewer.grid_files import share_file

GRID = "early/all/tiles-8"
# For each missing file: the call that requests it, and the condition once it has loaded.
FILES = {
    "late/all/tiles-8/grid.js": (
        "atlas.goTo('late', 'all')",
        "atlas.gridShown()?.folder === 'late/all/tiles-8'",
    ),
    "bare/all/places.js": ("atlas.goTo('bare', 'all')", "atlas.iconlessPlaces()?.slot.length === 400"),
    f"{GRID}/classes-0.js": ("atlas.set({lit: '1'})", "atlas.attributionOf(atlas.gridShown())?.column === 1"),
    f"{GRID}/share-0.js": ("atlas.set({colour: 'share-0'})", "atlas.coloursOver(atlas.gridShown()) !== null"),
    f"{GRID}/icons-overview-full.js": (
        "atlas.set({full: true})",
        "atlas.overviewOf(atlas.gridShown(), true) !== null",
    ),
    f"{GRID}/block-0-0.js": (
        "atlas.set({cell: '8.0.0'})",
        "document.querySelectorAll('.nine button').length === 9",
    ),
    f"{GRID}/crops-0-0.js": (
        "atlas.set({crops: true})",
        "atlas.sheetOf(atlas.gridShown(), 'crops', 0, 0, {full: false, far: 0}) !== null",
    ),
    "late/all/tiles-8/crops-0-0.js": (
        "atlas.goTo('late', 'all').then(patch).then(() => (window.got = 1), (e) => atlas.warn(e.message))",
        "window.got",
    ),
    "keys/keys.js": ("atlas.findImage(3)", "atlas.isLit(3)"),
    "early/all/places.js": (
        "atlas.set({found: 'box:early:all:0.0000,0.0000,1.0000,1.0000'})",
        "atlas.isLit(3)",
    ),
}


PATCH = """async () => { while (!atlas.gridShown()) await new Promise(requestAnimationFrame);
    return atlas.cellPicture(atlas.gridShown(), 0, "crops"); }"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_viewer(tmp_path_factory.mktemp("lacking"), shares=[{"column": "label", "value": "cat"}])
    num_cells = len(numbers_of(images_xy(0), 8, ()).row)
    write(made / GRID, {"share-0.js": share_file(np.linspace(0, 1, num_cells))})
    return made


@pytest.fixture
def gone(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Path of a file that has been moved aside, to the suffix ``.aside``."""
    path = folder / request.param
    path.rename(path.with_suffix(".aside"))
    yield path
    if not path.exists():
        path.with_suffix(".aside").rename(path)


def move(page):
    """Draw the map at a few positions."""
    page.evaluate("""async () => { for (let step = 0; step < 5; step++) {
        atlas.set({ x: 0.5 + step / 100 });
        await new Promise((done) => setTimeout(done, 30));
      } }""")


@pytest.mark.parametrize(
    ("gone", "ask", "there"),
    [(file, *how) for file, how in FILES.items()],
    indirect=["gone"],
    ids=list(FILES),
)
def test_a_file_that_fails_is_said_and_comes_when_it_is_asked_for_again(opened, folder, gone, ask, there):
    name = gone.relative_to(folder).as_posix()
    # The minimap shows the overview, where a part of the map is seen.
    page = opened("#grid=8&z=3" if "overview" in name else "#grid=8", folder, lacking=True)
    page.evaluate(f"window.patch = {PATCH}; 0")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if name in request.url else None)
    page.evaluate(f"void {ask}")
    until(
        page, "(words) => document.getElementById('notice').textContent === words", f"{name} cannot be loaded"
    )
    # Redraws do not request the file again; only a user's choice does.
    before = len(asked)
    move(page)
    assert len(asked) == before == 1
    gone.with_suffix(".aside").rename(gone)
    page.evaluate("atlas.goTo('bare', 'all'); atlas.goTo('early', 'all');")
    page.evaluate(f"void {ask}")
    until(page, there)


@pytest.mark.parametrize("gone", [f"{GRID}/share-0.js"], indirect=True)
def test_the_legend_of_another_measure_does_not_stay(opened, folder, gone):
    page = opened("#grid=8&colour=fidelity", folder, lacking=True)
    assert page.locator("#legend .ends span").count() == 3
    choose_colour(page, "label: cat")
    until(page, "document.getElementById('notice').textContent.includes('share-0.js')")
    assert page.inner_text("#legend") == ""


@pytest.mark.parametrize("gone", ["keys/keys.js"], indirect=True)
def test_typing_without_the_list_of_images_says_what_is_missing(opened, folder, gone):
    page = opened("#grid=8", folder, lacking=True)
    page.fill("#find", "image")
    until(page, "document.getElementById('notice').textContent === 'keys/keys.js cannot be loaded'")


@pytest.mark.parametrize("gone", ["late/all/places.js"], indirect=True)
def test_a_layer_without_its_places_does_not_keep_the_others_dark(opened, folder, gone):
    page = opened("#grid=8&found=label:1", folder, lacking=True)
    lit = """([name]) => { const canvas = document.querySelector(`#layers canvas[data-layer=${name}]`);
        return canvas.getContext("2d").getImageData(0, 0, 88, 88).data.some((value) => value > 0); }"""
    until(page, lit, ["bare"])
    assert page.evaluate(lit, ["early"])
    assert not page.evaluate(lit, ["late"])
    # At a closer zoom the map keeps its place between layers, but not in a layer without places.
    page.evaluate("atlas.set({z: 3})")
    page.evaluate("atlas.goTo('late', 'all')")
    assert page.evaluate("[atlas.state.layer, atlas.state.x, atlas.state.y]") == ["late", 0.5, 0.5]
