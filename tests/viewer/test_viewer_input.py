"""Malformed labels, runs and links; accessibility of the viewer by axe-core."""

import numpy as np
import pytest
from making_viewer import colour_of, make_viewer
from seeing import NEAR, at_cell, faults_by_axe, pixel, settle, state, until

HOSTILE = (
    '<img src=x onerror="document.title=1">',
    "\"quotes' & <b>bold</b>",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd",
    "long " * 60,
    "twice",
    "twice",
)


def test_labels_are_text_whatever_they_hold(opened, tmp_path):
    folder = make_viewer(tmp_path, labels=HOSTILE, name="<i>run</i>")
    page = opened("#grid=8&cell=8.3.3", folder)
    page.wait_for_selector("#detail .class-bar")
    page.click("#class")
    options = page.locator("#class-list li bdi").all_text_contents()
    assert options == list(HOSTILE)
    page.locator("#class-list li").first.click()
    until(page, "atlas.attributionOf(atlas.gridShown())")
    assert page.input_value("#class") == HOSTILE[0]
    assert page.locator("#run-name").text_content() == "<i>run</i>"
    assert page.evaluate("document.querySelectorAll('img[src=x], aside b, h1 i').length") == 0
    assert page.title().startswith("<i>run</i>")
    # No content is wider than its panel.
    for panel in ("#side", "#detail"):
        assert page.evaluate(f"(p => p.scrollWidth <= p.clientWidth)(document.querySelector('{panel}'))")


def test_two_classes_of_one_name_say_their_numbers_and_light_up_apart(opened, tmp_path):
    page = opened("#grid=8", make_viewer(tmp_path, labels=HOSTILE))
    page.fill("#class", "twice")
    shown = [" ".join(line.split()) for line in page.locator("#class-list li").all_inner_texts()]
    assert shown == ["twice class 4", "twice class 5"]
    page.locator("#class-list li").last.click()
    assert page.evaluate("atlas.state.lit") == "5"


def test_a_run_without_classes_has_no_class_filter(opened, tmp_path):
    page = opened("#grid=8&lit=3&colour=classes&cell=8.3.3", make_viewer(tmp_path, labels=()))
    settle(page)
    assert not page.locator("#class-section").is_visible()
    assert page.locator("#detail .class-bar").count() == 0
    assert page.evaluate("atlas.gridShown().cells") == 64


def test_a_layer_without_icons_shows_its_layout_and_says_what_is_missing(opened):
    page = opened("#layer=bare&cell=8.1.1&lit=2&colour=count&grid=8")
    until(page, "document.getElementById('status').textContent.includes('its icons are not made yet')")
    settle(page)
    assert "400 activations" in page.inner_text("#status")
    dots = page.evaluate("""() => { const map = document.getElementById("map");
        const { data } = map.getContext("2d").getImageData(0, 0, map.width, map.height);
        return data.filter((value, at) => at % 4 === 0 && value < 200).length; }""")
    assert dots > 400


def test_an_atlas_of_one_cell(opened, tmp_path):
    page = opened("#colour=fidelity&crops=true&labels=false", make_viewer(tmp_path, grids=(1,)))
    assert page.evaluate("atlas.gridShown().cells") == 1
    page.mouse.click(*at_cell(page, 0, 0, 1))
    page.wait_for_selector("#detail .class-bar")
    assert state(page)["cell"] == "1.0.0"
    page.keyboard.press("ArrowRight")  # there is no other icon in that direction
    page.locator("#map").press("+")
    settle(page)
    assert state(page)["cell"] == "1.0.0"
    page.evaluate("atlas.set({crops: false, colour: ''})")
    settle(page)
    assert np.abs(np.subtract(pixel(page, 0.5, 0.5), colour_of(0, 0, 1))).max() < NEAR


@pytest.mark.parametrize(
    "link",
    [
        "#map=other&layer=conv9&view=class-zebra&grid=77&lit=5000&cell=77.3.3&path=1,2,x&found=image:99999",
        "#x=NaN&y=Infinity&z=-3&strength=abc&colour=constructor&cell=8.99.99&found=box:a:b:c",
        "#found=box:early:all:0,0,0,0&path=0.1&cell=1e9.0.0",
        "#%E0%A4%A",
    ],
)
def test_a_broken_link_shows_what_there_is(opened, link):
    page = opened(link)
    assert page.evaluate("atlas.state.layer") == "early"
    assert page.evaluate("atlas.gridShown().cells") > 0
    assert not page.locator("#detail").is_visible()
    if "map=other" in link:
        assert "another map" in page.inner_text("#notice") or "not of this run" in page.inner_text("#notice")


def test_a_link_is_foreign_where_its_map_has_moved_or_is_gone_and_not_where_another_has(opened, tmp_path):
    link = opened("#layer=late&view=class-cat&z=2").evaluate("atlas.currentLink()").partition("#")[2]
    assert "map=late-class-cat" in link
    for moved, is_foreign in (("early-all", False), ("late-all", False), ("late-class-cat", True)):
        folder = make_viewer(tmp_path / moved, moved=moved)
        assert opened("#" + link, folder).locator("#notice").is_visible() == is_foreign
    # A run without classes has no such view.
    assert opened("#" + link, make_viewer(tmp_path / "gone", labels=())).locator("#notice").is_visible()


def test_every_file_is_asked_for_by_the_digest_of_all_of_them(opened):
    asked = []
    page = opened("#grid=8")
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("atlas.set({layer: 'late', colour: 'count', lit: '1', cell: '8.3.3'})")
    until(page, "atlas.gridShown() && atlas.attributionOf(atlas.gridShown())")
    page.reload()
    settle(page)
    asked = [url for url in asked if "/viewer/" not in url and "/index.html" not in url]
    for name in ("thumbnail.webp", "grid.js", "classes-0.js", "icons-overview-density.js"):
        assert any(name in url for url in asked)
    assert {url.partition("?")[2] for url in asked} == {"digest-of-made"}


def test_a_folder_without_its_data_says_so(opened, browser, tmp_path):
    folder = make_viewer(tmp_path)
    (folder / "viewer" / "run.js").unlink()
    page = browser.new_page()
    page.goto(f"file://{folder}/index.html")
    page.wait_for_selector("#notice:not([hidden])")
    assert "run.js is missing" in page.inner_text("#notice")
    page.close()


def test_random_weights_are_said_above_everything(opened, tmp_path):
    page = opened("", make_viewer(tmp_path, random=True, weights="RANDOM WEIGHTS (seed 0)"))
    assert page.inner_text("#alarm").startswith("RANDOM WEIGHTS (seed 0). This network was never trained")
    assert page.evaluate("atlas.caption()").startswith("RANDOM WEIGHTS")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_axe_finds_no_serious_fault_beside_an_image_and_a_second_map(opened, scheme, width, height):
    page = opened(
        "#grid=8&cell=8.3.3&image=24&found=right:0&beside=late",
        viewport={"width": width, "height": height},
        color_scheme=scheme,
    )
    page.wait_for_selector("#image-layers button")
    page.wait_for_selector("#found-images .gallery button", state="attached")
    if width < 500:
        page.evaluate("document.body.classList.add('side-open')")
    assert faults_by_axe(page) == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_axe_finds_no_serious_fault(opened, scheme, width, height):
    page = opened(
        "#grid=8&cell=8.3.3&lit=2&found=label:1&path=0.1,0.1,0.9,0.9&colour=classes",
        viewport={"width": width, "height": height},
        color_scheme=scheme,
    )
    page.wait_for_selector(".nine button")
    page.wait_for_selector("#strip-icons button")
    page.wait_for_selector("#found:not([hidden])", state="attached")
    if width < 500:
        page.evaluate("document.body.classList.add('side-open')")
    assert faults_by_axe(page) == {}
