"""The pages of atoms in a browser: addresses, links, search, keyboard, accessibility, weight."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from seeing import assert_fits_without_faults, places_within, until

from atlas_pipeline.cli.main import main
from atlas_pipeline.viewer.unit_files import atom_page_files

NUM_ATOMS = 14
RUN = {"run": "<b>", "model": "m", "weights": "", "random": False, "digest": "", "atlas": False, "layers": []}


def test_the_script_of_the_atoms_pages_runs_without_modules(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here; install it")
    files = atom_page_files(RUN)
    (tmp_path / "page.cjs").write_bytes(files["directions/directions.js"])
    done = subprocess.run(
        [node, "--check", tmp_path / "page.cjs"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "<title>&lt;b&gt; · directions</title>" in files["directions/index.html"].decode()
    assert set(files) == {
        f"directions/{name}" for name in ("index.html", "directions.css", "directions.js", "run.js")
    }


@pytest.fixture(scope="module")
def run_of_atoms(tmp_path_factory, small_in):
    """A finished run with the atlas of layer 4 and the atoms of a decoder; atom 3 is dead."""
    folder = tmp_path_factory.mktemp("atoms")
    decoder = np.abs(np.random.default_rng(0).normal(size=(NUM_ATOMS, 12)))
    # Nothing is left for the copy of an atom.
    decoder[3] = decoder[2]
    np.save(folder / "decoder.npy", decoder)
    section = {"method": "file", "file": str(folder / "decoder.npy"), "num_active": 4}
    config = {**small_in(folder), "directions": section}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 0, result.output
    return Path(config["run"]["workspace"]) / "runs" / "small"


@pytest.fixture
def page_at(page_of, run_of_atoms):
    """`page_at(link)`: the page of the atoms at a link."""
    return lambda link="", **how: page_of(run_of_atoms / "directions" / "index.html", link, **how)


def test_from_the_model_to_a_layer_to_an_atom_and_back(page_at):
    page = page_at()
    assert "14 atoms of a sparse autoencoder's decoder" in page.inner_text("#page")
    page.get_by_role("link", name="4 14 atoms").click()
    until(page, "atlas.isDrawn() && document.querySelectorAll('.maps .tile').length === 14")
    assert "What no atom explains" in page.inner_text("#page")
    assert page.locator("tbody tr").count() > 3
    page.locator(".tile").nth(5).click()
    until(page, "atlas.isDrawn() && document.querySelector('h1').textContent === '4:5'")
    assert page.url.endswith("#layer=4&atom=5")
    page.go_back()
    until(page, "atlas.isDrawn() && document.querySelectorAll('.maps .tile').length === 14")


def test_an_atoms_page_shows_all_that_is_known_of_it(page_at):
    page = page_at("#layer=4&atom=5")
    words = page.inner_text("#page")
    for heading in (
        "of the energy of the layer's activations",
        "the cells it lights",
        "Where it is strongest",
        "Over its whole range",
        "Its strength",
        "Classes it speaks for",
        "Cells of the atlas where it is strongest",
    ):
        assert heading in words
    assert "unit" not in words.lower()
    assert page.locator(".large .patch").count() == 9
    assert page.locator(".range").count() == 6
    blank = page.evaluate(
        """() => [...document.querySelectorAll("canvas")].filter((canvas) => !canvas.getContext("2d")
        .getImageData(0, 0, canvas.width, canvas.height).data.some((level) => level)).length"""
    )
    assert blank == 0


def test_a_dead_atom_says_so_on_its_page_and_in_the_list(page_at):
    assert "This atom is dead: none of 60 sampled activations" in page_at("#layer=4&atom=3").inner_text(
        ".dead"
    )
    assert page_at("#layer=4").locator(".tile").nth(3).inner_text().split() == ["3", "dead"]


def test_an_atom_that_is_not_there_shows_its_layer_and_says_so(page_at):
    page = page_at("#layer=4&atom=99")
    assert "4:99 has no page here" in page.inner_text("#notice")
    assert page.locator(".maps .tile").count() == 14


def test_atoms_are_found_by_number_and_by_class_with_the_keyboard_alone(page_at):
    page = page_at()
    page.keyboard.press("/")
    page.keyboard.type("1")
    until(page, "document.querySelectorAll('#found li').length === 5")
    assert page.locator("#found li bdi").all_inner_texts() == ["4:1", "4:10", "4:11", "4:12", "4:13"]
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


def test_an_atom_leads_to_its_cells_in_the_atlas(page_at):
    page = page_at("#layer=4&atom=5")
    page.locator("a.cell").first.click()
    until(page, "window.atlas?.chosenCell?.()")
    page.go_back()
    until(page, "window.atlas?.isDrawn?.()")
    page.get_by_role("link", name="on the atlas").click()
    until(page, "window.atlas?.state?.found?.startsWith('cells:4:all:3:')")


def test_a_cell_of_the_atlas_names_the_atoms_that_are_strong_there(page_at):
    page = page_at("#layer=4&atom=5")
    page.locator("a.cell").first.click()
    link = page.locator("#detail").get_by_role("link", name="5", exact=True)
    link.wait_for()
    assert "Atoms that are strong here" in page.inner_text("#detail")
    link.click()
    until(page, "window.atlas?.isDrawn?.() && document.querySelector('h1').textContent === '4:5'")


def test_every_link_of_the_pages_leads_somewhere(page_at, run_of_atoms):
    assert len(places_within(page_at(), run_of_atoms / "directions")) == NUM_ATOMS + 2


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
@pytest.mark.parametrize("link", ["", "#layer=4", "#layer=4&atom=5", "#layer=4&atom=3"])
def test_axe_finds_no_serious_fault_in_the_pages(page_at, scheme, width, link):
    assert_fits_without_faults(page_at(link, color_scheme=scheme), width)


def test_the_first_paint_of_each_page_takes_less_than_a_megabyte(run_of_atoms):
    layer, pages = run_of_atoms / "4" / "directions", run_of_atoms / "directions"
    page = sum((pages / name).stat().st_size for name in os.listdir(pages))
    lists = sum((layer / name).stat().st_size for name in ("list.js", "icons-0.js", "cells.js"))
    largest = max(path.stat().st_size for path in layer.glob("atom-*.js"))
    assert page + lists + largest < 1_000_000
