"""The pages of units in a browser: addresses, links, search, keyboard, accessibility, weight."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from seeing import assert_fits_without_faults, places_within, until

from atlas_pipeline.cli.main import main
from atlas_pipeline.viewer.unit_files import unit_page_files

UNITS = {"layers": ["1", "4"], "num_diverse": 1, "num_weights": 2, "first_images": 40, "per_range": 3}


@pytest.fixture(scope="module")
def run_of_units(tmp_path_factory, small_in):
    """A finished run: an atlas of layer 4, pages of all units of layers 1 and 4; unit 3 of 4 is dead."""
    folder = tmp_path_factory.mktemp("units")
    config = {**small_in(folder), "units": UNITS}
    network = folder / "network.py"
    network.write_text(
        network.read_text()
        .replace(
            "    return nn.Sequential(",
            "    late = nn.Conv2d(8, 12, 3, padding=1)\n"
            "    late.bias.data[3] = -1e4\n"
            "    return nn.Sequential(",
        )
        .replace("nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()", "late, nn.ReLU()")
    )
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 0, result.output
    return Path(config["run"]["workspace"]) / "runs" / "small"


@pytest.fixture
def page_at(page_of, run_of_units):
    """`page_at(link)`: the page of the units at a link."""
    return lambda link="", file="units/index.html", **how: page_of(run_of_units / file, link, **how)


def test_from_the_model_to_a_layer_to_a_unit_and_back(page_at):
    page = page_at()
    assert "2" in page.inner_text("#trail") or page.locator("#page .layers a").count() == 2
    page.get_by_role("link", name="4 12 units").click()
    until(page, "atlas.isDrawn() && document.querySelectorAll('.tile').length === 12")
    page.locator(".tile").nth(5).click()
    until(page, "atlas.isDrawn() && document.querySelector('h1').textContent === '4:5'")
    assert page.url.endswith("#layer=4&unit=5")
    assert page.title().startswith("4:5")
    page.go_back()
    until(page, "atlas.isDrawn() && document.querySelectorAll('.tile').length === 12")


def test_a_units_page_shows_all_that_is_known_of_it(page_at):
    page = page_at("#layer=4&unit=5")
    words = page.inner_text("#page")
    for heading in (
        "Icons",
        "Where it fires most",
        "Over its whole range",
        "Its values before the ReLU",
        "Classes it speaks for",
        "Cells of the atlas where it is strongest",
        "What it is built from, and what it builds",
    ):
        assert heading in words
    assert page.locator(".icons .patch").count() == 5
    assert page.locator(".large .patch").count() == 9
    assert page.locator(".range").count() == 7
    assert "4:5 <- 1:" in page.inner_text(".written")
    # Something is drawn on every patch.
    blank = page.evaluate(
        """() => [...document.querySelectorAll(".patch canvas")].filter((canvas) => !canvas.getContext("2d")
        .getImageData(0, 0, canvas.width, canvas.height).data.some((level) => level)).length"""
    )
    assert blank == 0


def test_a_dead_unit_says_so_on_its_page_and_in_the_list(page_at):
    assert "This unit is dead: it never fires in 60 images" in page_at("#layer=4&unit=3").inner_text(".dead")
    assert page_at("#layer=4").locator(".tile").nth(3).inner_text().split() == ["3", "dead"]


def test_a_unit_that_is_not_there_shows_its_layer_and_says_so(page_at):
    page = page_at("#layer=4&unit=99")
    assert "4:99 has no page here" in page.inner_text("#notice")
    assert page.locator(".tile").count() == 12
    assert "no layer 'nowhere'" in page_at("#layer=nowhere").inner_text("#notice")


def test_units_are_found_by_number_and_by_class_with_the_keyboard_alone(page_at):
    page = page_at()
    page.keyboard.press("/")
    page.keyboard.type("4:1")
    until(page, "document.querySelectorAll('#found li').length === 3")
    assert page.locator("#found li bdi").all_inner_texts() == ["4:1", "4:10", "4:11"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until(page, "atlas.isDrawn() && document.querySelector('h1').textContent === '4:10'")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    until(page, "atlas.isDrawn() && document.querySelector('h1').textContent === '4:11'")
    found = page.locator(".classes bdi").first.inner_text()
    page.fill("#find", found[:3])
    until(page, "document.querySelectorAll('#found li').length > 0")
    assert all(found[:3] in words for words in page.locator("#found li small").all_inner_texts())
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()


def test_atlas_and_units_lead_to_each_other(page_at):
    page = page_at("#layer=4&unit=5")
    page.locator("a.cell").first.click()
    until(page, "window.atlas?.chosenCell?.()")
    until(page, "document.querySelectorAll('#detail a').length > 0")
    page.locator("#detail a").first.click()
    until(page, "window.atlas?.isDrawn?.()")
    assert page.inner_text("h1").startswith("4:")


def test_every_link_of_the_pages_leads_somewhere(page_at, run_of_units):
    assert len(places_within(page_at(), run_of_units / "units")) > 20


def test_a_unit_of_a_family_leads_to_its_tuning_and_no_other_does(browser, run_of_units, tmp_path):
    copy = shutil.copytree(run_of_units, tmp_path / "run")
    description, file = copy / "units" / "run.js", copy / "4" / "tuning" / "family-1.png"
    before, name, after = description.read_text().rpartition('"families":{}')
    assert name
    description.write_text(before + '"families":{"4/tuning/family-1.png":[2,5]}' + after)
    page = browser.new_page()
    page.goto(f"file://{copy}/units/index.html#layer=4&unit=5")
    until(page, "atlas.isDrawn()")
    assert "It is one of 2 units that respond alike" in page.inner_text("#page")
    href = page.get_by_role("link", name="their tuning").get_attribute("href")
    assert (copy / "units" / href).resolve() == file.resolve()
    page.goto(f"file://{copy}/units/index.html#layer=4&unit=6")
    until(page, "atlas.isDrawn() && document.querySelector('h1').textContent === '4:6'")
    assert page.get_by_role("link", name="their tuning").count() == 0
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
@pytest.mark.parametrize("link", ["", "#layer=4", "#layer=4&unit=5", "#layer=4&unit=3"])
def test_axe_finds_no_serious_fault_in_the_pages(page_at, scheme, width, link):
    assert_fits_without_faults(page_at(link, color_scheme=scheme), width)


def test_the_first_paint_of_each_page_takes_less_than_a_megabyte(run_of_units):
    layer = run_of_units / "4" / "units"
    page = sum((run_of_units / "units" / name).stat().st_size for name in os.listdir(run_of_units / "units"))
    lists = (layer / "list.js").stat().st_size + (layer / "icons-0.js").stat().st_size
    cells = (run_of_units / "4" / "all" / "unit-cells.js").stat().st_size
    largest = max(path.stat().st_size for path in layer.glob("unit-*.js"))
    assert page + lists + cells + largest < 1_000_000


def test_random_weights_are_said(browser, tmp_path):
    run = {
        "run": "r",
        "model": "m",
        "weights": "seed 0",
        "random": True,
        "digest": "",
        "atlas": False,
        "layers": [],
    }
    for name, content in unit_page_files(run).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/units/index.html")
    until(page, "atlas.isDrawn()")
    assert "Random weights: seed 0" in page.inner_text("#alarm")
    page.close()
