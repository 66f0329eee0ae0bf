"""The map follows the latest input: animations, late answers, double clicks; the chosen cell lights up."""

import pytest
from making_viewer import images_xy
from seeing import at_cell, centre, settle, state, until

REST = "new Promise((done) => setTimeout(() => requestAnimationFrame(done), 500))"  # longer than a move
HANDS = {
    "wheel": (
        """document.getElementById("map").dispatchEvent(
        new WheelEvent("wheel", { deltaY: -300, clientX: 748, clientY: 400, cancelable: true }))""",
        "z",
    ),
    "key": (
        """document.getElementById("map").dispatchEvent(
        new KeyboardEvent("keydown", { key: "ArrowRight" }))""",
        "x",
    ),
    "minimap": ("atlas.set({ x: 0.25, y: 0.75 })", "x"),
}


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_hand_ends_an_animated_move(opened, hand, is_begun):
    page = opened("#grid=8&z=3&x=0.3&y=0.3", reduced_motion="no-preference")
    act, name = HANDS[hand]
    moved, rested = page.evaluate(
        f"""async () => {{ atlas.goHome();
        for (let frame = 0; frame < {3 if is_begun else 0}; frame++) await new Promise(requestAnimationFrame);
        {act};
        const moved = atlas.state.{name};
        await {REST};
        return [moved, atlas.state.{name}]; }}"""
    )
    assert rested == moved


def test_an_animated_move_ends_at_its_target(opened):
    page = opened("#grid=8&z=3&x=0.3", reduced_motion="no-preference")
    page.evaluate("atlas.goHome()")
    until(page, "!atlas.isAnimating()")
    assert [state(page)[name] for name in "xyz"] == [0.5, 0.5, 1]


def test_another_layer_finishes_an_animated_move_at_once(opened):
    page = opened("#grid=8", reduced_motion="no-preference")
    page.evaluate("async () => { atlas.flyTo({x: 0.3, y: 0.3, z: 3}); await atlas.goTo('late', 'all'); }")
    until(page, "!atlas.isAnimating()")
    # Each layer is a quarter turn from the one before.
    assert [state(page)[name] for name in "xyz"] == pytest.approx([0.3, 0.7, 3], abs=0.1)


def test_a_map_that_was_moved_is_not_taken_away_when_the_other_layer_has_come(opened):
    page = opened("#grid=8&z=3")
    place = page.evaluate(
        """async () => { const plain = Response.prototype.arrayBuffer;
        let open;
        const gate = new Promise((done) => (open = done));
        // Everything that is packed waits, the other layer's places too.
        Response.prototype.arrayBuffer = async function () { return (await gate, plain.call(this)); };
        const going = atlas.goTo("late", "all");
        atlas.set({ x: 0.2, y: 0.25 });
        open();
        await going;
        return [atlas.state.x, atlas.state.y]; }"""
    )
    assert place == [0.2, 0.25]


def test_a_double_click_zooms_where_the_panel_would_open(opened):
    page = opened("#grid=8")
    x, y = at_cell(page, 3, 7, 8)
    page.mouse.dblclick(x, y)
    assert state(page)["z"] == 2
    # A double click is told in whole pixels.
    assert at_cell(page, 3, 7, 8) == pytest.approx([x, y], abs=1.1)
    page.evaluate(REST)
    assert state(page)["cell"] == ""
    page.mouse.click(x, y)
    page.wait_for_selector("#detail:not([hidden])")
    assert state(page)["cell"] == "8.3.7"


def images_in(layer, row, col):
    """Number of images with an activation in a cell of the grid of 8."""
    x, y = images_xy(layer).T
    return ((x >= col / 8) & (x < (col + 1) / 8) & (1 - y >= row / 8) & (1 - y < (row + 1) / 8)).sum()


def test_a_cell_chosen_in_the_next_layer_takes_the_place_of_the_one_before(opened):
    page = opened("#grid=8")
    page.focus("#map")
    for layer, key, (row, col) in (("early", "]", (2, 2)), ("late", "[", (5, 6))):
        page.evaluate("(cell) => atlas.set({cell})", f"8.{row}.{col}")
        until(page, "atlas.chosenCell() !== null")
        page.keyboard.press(key)
        settle(page)
        words = f"{images_in(('early', 'late').index(layer), row, col)} images of a region of {layer}"
        until(page, "(words) => document.getElementById('found-words').textContent === words", words)
    # A search by the user stays.
    page.evaluate("atlas.set({found: 'label:1', cell: '8.2.2'})")
    page.keyboard.press("]")
    assert (state(page)["layer"], state(page)["found"]) == ("late", "label:1")


def test_the_chosen_cell_lights_up_by_a_key_and_by_its_panel_and_it_is_said(opened):
    page = opened("#grid=8")
    page.focus("#map")
    page.keyboard.press("b")
    assert "Choose an icon first" in page.inner_text("#notice")
    page.evaluate("([x, y]) => atlas.pickAt(x, y)", centre(2, 3, 8))
    words = f"{images_in(0, 2, 3)} images of a region of early"
    page.keyboard.press("b")
    until(page, "(words) => document.getElementById('said').textContent === words", words)
    assert page.inner_text("#found-words") == words
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Light up in all layers").click()
    until(page, "(words) => document.getElementById('found-words').textContent === words", words)
    # The user asked for it, so the next chosen cell does not replace it.
    page.evaluate("atlas.set({cell: '8.5.5'})")
    page.focus("#map")
    page.keyboard.press("]")
    until(page, "atlas.state.layer === 'late'")
    assert page.inner_text("#found-words") == words
    page.keyboard.press("?")
    assert "light up the chosen icon's activations in every layer" in page.inner_text("#keys")
