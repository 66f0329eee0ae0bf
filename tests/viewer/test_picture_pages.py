"""The page of a picture in a browser: address, links, keyboard, accessibility, weight."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from seeing import assert_fits_without_faults, until

from atlas_pipeline.cli.main import main


@pytest.fixture(scope="module")
def run_of_pictures(tmp_path_factory, small_in):
    """A finished run with pages of units of layer 4, and the page of one picture in layers 1 and 4."""
    folder = tmp_path_factory.mktemp("pictures")
    config = {
        **small_in(folder),
        "layers": ["1", "4"],
        "units": {"layers": ["4"], "icons": [], "num_weights": 0},
        "image": {"num_groups": 3, "position_icons": 2, "pictures": [str(folder / "a picture.png")]},
    }
    levels = np.random.default_rng(1).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(levels).resize((70, 50), Image.Resampling.BICUBIC).save(folder / "a picture.png")
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 0, result.output
    return Path(config["run"]["workspace"]) / "runs" / "small"


@pytest.fixture
def page_at(page_of, run_of_pictures):
    """`page_at(link)`: the picture's page at a link."""
    (file,) = run_of_pictures.glob("image/*/index.html")
    return lambda link="", **how: page_of(file, link, **how)


def test_page_shows_all_that_is_known_of_the_picture(page_at):
    page = page_at("#layer=4")
    words = page.inner_text("#page")
    for heading in (
        "a picture.png",
        "Position: row",
        "Cells of the atlas that carry it",
        "Channels that carry it",
        "Groups of neurons",
        "What the attributions add up to",
    ):
        assert heading in words
    assert page.locator(".maps canvas").count() == 3
    assert page.locator(".group").count() == 3
    assert page.locator("#place").count() == 1


def test_keyboard_moves_the_mark_and_the_address_holds_it(page_at):
    page = page_at("#layer=4&position=2.3")
    assert page.inner_text("#place") == "Position: row 3, column 4"
    page.locator("#maps").focus()
    page.keyboard.press("ArrowRight")
    until(page, "atlas.isDrawn() && location.hash.includes('position=2.4')")
    page.keyboard.press("ArrowUp")
    until(page, "atlas.isDrawn() && location.hash.includes('position=1.4')")
    assert page.inner_text("#place") == "Position: row 2, column 5"
    page.go_back()
    until(page, "atlas.isDrawn() && document.querySelector('#place').textContent.includes('row 3')")


def test_click_on_a_map_marks_the_position(page_at):
    page = page_at("#layer=4&position=0.0")
    box = page.locator(".maps canvas").nth(1).bounding_box()
    page.mouse.click(box["x"] + box["width"] * 6.5 / 16, box["y"] + box["height"] * 4.5 / 16)
    until(page, "atlas.isDrawn() && location.hash.includes('position=4.6')")


def test_classes_and_method_are_chosen_and_shared(page_at):
    page = page_at("#layer=4")
    options = page.locator("#class option").all_inner_texts()
    page.select_option("#class", label=options[1])
    until(page, "atlas.isDrawn() && location.hash.includes('class=')")
    page.select_option("#minus", label=options[0])
    until(page, "atlas.isDrawn() && location.hash.includes('minus=')")
    page.select_option("#by", "path")
    until(page, "atlas.isDrawn() && location.hash.includes('by=path')")
    link = page.evaluate("location.hash")
    other = page_at(link)
    assert other.locator("#class").input_value() == page.locator("#class").input_value()
    assert other.inner_text(".carriers") == page.inner_text(".carriers")
    assert f"{options[1]} less that to {options[0]}" in other.inner_text("#page")


def test_atlas_opens_with_the_pictures_cells_lit_up(page_at):
    page = page_at("#layer=4")
    page.click("#to-atlas")
    until(page, "window.atlas?.state?.found?.startsWith('cells:4:all:3:')")
    until(page, "document.querySelector('#found-words')?.textContent.includes('that a picture lies on')")
    until(page, "window.atlas.litHere().points?.x.length > 0")


def test_every_link_of_the_page_leads_to_a_file(page_at, run_of_pictures):
    (file,) = run_of_pictures.glob("image/*/index.html")
    page, found = page_at("#layer=4"), set()
    for href in page.eval_on_selector_all("a[href]", "(all) => all.map((one) => one.getAttribute('href'))"):
        if not href.startswith("#"):
            assert (file.parent / href.split("#")[0]).resolve().is_file(), href
            found.add(href.split("#")[0])
    assert found == {"../../index.html", "../../report.html", "../../units/index.html"}


def test_atlas_leads_to_the_list_of_pictures_and_on_to_the_page(browser, run_of_pictures):
    page = browser.new_page()
    page.goto(f"file://{run_of_pictures}/index.html")
    page.locator("#pictures-page").wait_for()
    assert page.inner_text("#pictures-page") == "1 picture"
    page.click("#units-page")
    until(page, "window.atlas?.isDrawn?.()")
    page.go_back()
    page.click("#pictures-page")
    card = page.locator("#pictures .cards a")
    assert card.locator("b").inner_text() == "a picture.png"
    until(page, "document.querySelector('#pictures img').naturalWidth > 0")
    assert page.locator("#units .cards a").inner_text().split() == ["4", "12", "units"]
    card.click()
    until(page, "window.atlas?.isDrawn?.()")
    assert page.inner_text("h1") == "a picture.png"
    page.close()


def test_link_to_a_unit_shows_the_unit(page_at):
    page = page_at("#layer=4")
    page.locator("a[href*='units/index.html']").first.click()
    until(page, "window.atlas?.isDrawn?.() && document.querySelector('h1').textContent.startsWith('4:')")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
def test_axe_finds_no_serious_fault(page_at, scheme, width):
    assert_fits_without_faults(page_at("#layer=4", color_scheme=scheme), width)


def test_first_paint_takes_less_than_a_megabyte(run_of_pictures):
    (file,) = run_of_pictures.glob("image/*/index.html")
    sizes = {path.name: path.stat().st_size for path in file.parent.iterdir()}
    layers = [size for name, size in sizes.items() if name.startswith("layer-")]
    assert sum(sizes.values()) - sum(layers) + max(layers) < 1_000_000
