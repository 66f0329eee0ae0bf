"""Several positions per image: activations light up and glide, images are found."""

import numpy as np
import pytest
from making_viewer import activations_xy, make_viewer
from seeing import pixel, settle, state, until


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    return make_viewer(tmp_path_factory.mktemp("twice"), labels=(), positions=2)


def lit(page):
    """Places of the found activations in the current view, y up, in the order of the activations."""
    until(page, "atlas.litHere().points")
    points = page.evaluate("atlas.litHere().points")
    return np.column_stack([points["x"], 1 - np.array(points["y"])])


def test_a_brushed_region_lights_up_its_own_activations_and_not_all_of_their_images(opened, twice):
    page = opened("#grid=8&found=box:early:all:0,0,0.4,0.3", twice)
    x, y = activations_xy(0, 2).T
    inside = (x < 0.4) & (1 - y < 0.3)
    # Hardly any image has both activations inside.
    assert inside.sum() > 1.5 * inside.reshape(-1, 2).all(axis=1).sum()
    assert lit(page) == pytest.approx(activations_xy(0, 2)[inside], abs=1e-4)
    assert page.inner_text("#found-words") == f"{inside.sum()} activations of a region of early"
    page.evaluate("atlas.set({layer: 'late'})")
    settle(page)
    assert lit(page) == pytest.approx(activations_xy(1, 2)[inside], abs=1e-4)


def test_every_activation_glides_from_its_own_place(opened, twice):
    page = opened("#grid=8&labels=false", twice, reduced_motion="no-preference")
    page.evaluate("performance.now = () => window.moment ?? 0")
    page.get_by_role("button", name="late").first.click()
    until(page, "atlas.isGliding() && atlas.gridShown()?.folder.startsWith('late')")
    until(page, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    page.evaluate("window.moment = 0.45 * 1400")
    until(page, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    between = (activations_xy(0, 2) + activations_xy(1, 2)) / 2
    for number in (14, 15, 46, 47, 90, 91):
        assert max(pixel(page, between[number, 0], 1 - between[number, 1])) < 160


def test_an_image_is_found_where_all_its_activations_are_visible(opened, twice):
    page = opened("#grid=8", twice)
    page.fill("#find", "#37")
    page.locator("#find-list li").first.click()
    two = activations_xy(0, 2)[74:76]
    assert lit(page) == pytest.approx(two, abs=1e-4)
    x, y = two.mean(axis=0)
    until(page, "([x, y]) => Math.hypot(atlas.state.x - x, atlas.state.y - y) < 1e-3", [x, 1 - y])
    assert state(page)["z"] == pytest.approx(max(1, min(4, 0.8 / abs(two[0, 0] - two[1, 0]))), rel=1e-3)
