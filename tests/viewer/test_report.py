import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest

from atlas_pipeline.publish.entries import AtlasEntry, RunSummary, entry_of
from atlas_pipeline.publish.report import report_page
from atlas_pipeline.viewer.picture_card import PictureCard

HOSTILE = '<script>alert("x")</script>&\'$name'


NUMBERS = {
    "num_activations": 19_960,
    "num_cells": 312,
    "fidelity_median": 0.9512,
    "fidelity_p5": 0.9,
    "fidelity_centred": 0.88,
    "round_trip_top1": 0.914,
    "round_trip_top5": 0.99,
    "coherence_median": 0.7,
    "saturated": 0.0123,
    "consistency_median": 0.83,
    "fidelity_noise": 0.3712,
    "fidelity_nearest": 0.9444,
    "round_trip_chance": 0.0032,
    "saturated_real": 0.054,
    "trustworthiness": 0.94,
}


def entry(layer="mixed4", view="all", grid=20, numbers=NUMBERS, **changes):
    folder = f"{layer}/{view}"
    return AtlasEntry(
        **{
            "layer": layer,
            "view": view,
            "kind": "all",
            "grid": grid,
            "atlas": f"{folder}/atlas-{grid}.png",
            "document": f"{folder}/atlas-{grid}.json",
            "density": f"{folder}/density.png",
            "scatter": f"{folder}/scatter.png",
            "width_px": grid * 64,
            "num_activations": 19_960,
            "num_cells": 312,
            "numbers": numbers,
            **changes,
        }
    )


RUN = RunSummary(name="quickstart", model="demo", weights="trained: demo.safetensors", images="20,000 images")
RANDOM = dataclasses.replace(RUN, weights="RANDOM WEIGHTS (seed 0)", random_weights=True)


class Page(HTMLParser):
    """Parse a page: tags with their attributes, and the text outside script and style."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._inside = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not self._inside or self._inside[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag, attribute):
        return [attrs[attribute] for name, attrs in self.tags if name == tag and attribute in attrs]


def test_there_is_a_way_back_to_the_map_where_there_is_one():
    back = '<a href="./index.html">← Back to the map</a>'
    assert back in report_page(dataclasses.replace(RUN, has_viewer=True), [entry()])
    assert back not in report_page(RUN, [entry()])


def test_every_atlas_is_on_the_page_with_its_pictures_data_and_figures():
    entries = [entry(layer, grid=grid) for layer in ("mixed3", "mixed4") for grid in (20, 40)]
    page = Page(report_page(RUN, entries))
    sources, links = page.all("img", "src"), page.all("a", "href")
    for e in entries:
        assert f"./{e.atlas}" in sources
        assert {f"./{e.atlas}", f"./{e.document}", f"./{e.density}", f"./{e.scatter}"} <= set(links)
    for words in ("0.951", "91%", "99%", "1.2%", "312", "19,960", "mixed3", "20,000 images"):
        assert words in page.text


def test_baselines_stand_beneath_the_figures_they_belong_to():
    html = report_page(RUN, [entry()])
    assert "<dd>0.951<small>5th percentile 0.900</small><small>noise 0.371</small>" in html
    assert "<small>nearest activation 0.944</small></dd>" in html
    assert "<small>by chance 0.3%</small>" in html
    assert "<dd>1.2%<small>real crops 5.4%</small>" in html
    assert "<dt>consistency, median</dt><dd>83%</dd>" in html
    old = report_page(
        RUN,
        [
            entry(
                numbers={
                    **NUMBERS,
                    "fidelity_noise": None,
                    "saturated_real": None,
                    "consistency_median": None,
                }
            )
        ],
    )
    assert "0.900</small><small>nearest activation 0.944</small>" in old
    assert "<dd>1.2%</dd>" in old
    assert "consistency, median" not in old


def test_every_link_inside_the_page_leads_somewhere_and_no_anchor_is_double():
    entries = [entry("a b"), entry("a-b"), entry("a b", grid=40), entry("a b", view="class-é")]
    page = Page(report_page(RUN, entries))
    ids = page.all("section", "id")
    assert len(set(ids)) == len(ids)
    targets = [link[1:] for link in page.all("a", "href") if link.startswith("#")]
    assert len(targets) == 2 * len(entries)
    assert set(targets) <= set(ids)


def test_figures_of_classes_and_sheets_are_on_the_page():
    figure, sheet = "mixed5/all/highlight-cat-20.png", "class-atlases.png"
    run = RunSummary(
        name="run", model="net", weights="w", images="i", figures=[figure], sheets={"All classes": sheet}
    )
    page = Page(report_page(run, [entry()]))
    assert f"./{figure}" in page.all("img", "src")
    assert {f"./{figure}", f"./{sheet}"} <= set(page.all("a", "href"))
    assert "highlight-cat-20 · all · mixed5" in page.text
    assert "All classes" in page.text
    assert "figures" not in Page(report_page(RUN, [entry()])).all("section", "id")


def test_pages_of_units_and_pictures_are_on_the_page():
    card = PictureCard(file="a dog.jpg", label="beagle", probability=0.924, layers=("mixed3",))
    run = dataclasses.replace(RUN, units={"mixed3": 64, "a+b": 1}, pictures={"image/a-0": card})
    page = Page(report_page(run, [entry()]))
    assert {"units", "pictures"} <= set(page.all("section", "id"))
    assert {
        "./units/index.html#layer=mixed3",
        "./units/index.html#layer=a%2Bb",
        "./image/a-0/index.html",
    } <= set(page.all("a", "href"))
    assert "./image/a-0/picture.webp" in page.all("img", "src")
    for words in ("64 units", "1 unit", "a dog.jpg", "beagle, 92%"):
        assert words in page.text
    assert not {"units", "pictures"} & set(Page(report_page(RUN, [entry()])).all("section", "id"))


def test_figures_stand_under_the_name_of_their_study():
    figures = ["mixed3/tuning/family-1.png", "mixed5/all/highlight-cat-20.png", "mixed4/dream/dream-0.png"]
    page = Page(report_page(dataclasses.replace(RUN, figures=figures), [entry()]))
    assert [one for one in page.all("section", "id") if one in ("figures", "tuning", "dreams")] == [
        "figures",
        "tuning",
        "dreams",
    ]
    classes = page.text[page.text.index("Classes") : page.text.index("Tuning")]
    assert "highlight-cat-20" in classes
    assert "family-1" not in classes


def test_names_are_text_and_never_markup():
    run = RunSummary(
        units={HOSTILE: 3},
        pictures={HOSTILE: PictureCard(file=HOSTILE, label=HOSTILE, probability=1.0, layers=())},
        name=HOSTILE,
        model=HOSTILE,
        weights=HOSTILE,
        images=HOSTILE,
        random_weights=True,
        provenance={HOSTILE: {"inner": HOSTILE}, "plain": HOSTILE},
        sheets={HOSTILE: HOSTILE},
        figures=[f"{HOSTILE}/vocabulary.png"],
    )
    hostile = entry(HOSTILE, HOSTILE, atlas='"onerror="x', preview="javascript:alert(1)")
    html = report_page(run, [hostile])
    page, clean = Page(html), Page(report_page(RANDOM, [entry()]))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert HOSTILE in page.text
    assert {name for _, attrs in page.tags for name in attrs} == {
        name for _, attrs in clean.tags for name in attrs
    }
    for target in page.all("a", "href") + page.all("img", "src"):
        assert target.startswith(("./", "#"))
        assert ":" not in target


def test_the_page_needs_no_network_and_allows_its_own_script_alone():
    html = report_page(RUN, [entry()])
    assert not re.search(r"https?:|url\(|@import|<link|<iframe", html)
    script = re.search(r"<script>(.*)</script>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = Page(html).all("meta", "content")[2]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_paths_with_odd_characters_still_lead_to_the_file():
    page = Page(report_page(RUN, [entry("conv#1", view="class-50% off?", density=None, scatter=None)]))
    assert "./conv%231/class-50%25%20off%3F/atlas-20.png" in page.all("a", "href")


def test_random_weights_are_said_in_the_title_the_banner_and_every_caption():
    html = report_page(RANDOM, [entry(), entry(grid=40)])
    assert "<title>RANDOM WEIGHTS (seed 0)" in html
    assert 'class="alarm"' in html
    assert Page(html).text.count("RANDOM WEIGHTS (seed 0)") >= 4
    assert 'class="alarm"' not in report_page(RUN, [entry()])


def test_unknown_figures_are_dashes_and_missing_pictures_leave_no_hole():
    unknown = {"fidelity_median": None, "coherence_median": float("nan"), "trustworthiness": None}
    bare = entry(density=None, scatter=None, numbers={**NUMBERS, **unknown})
    html = report_page(RUN, [bare])
    assert "nan" not in Page(html).text.lower()
    assert "None" not in html
    assert html.count("<td>–</td>") == 3
    assert 'class="pair"' not in html


def test_small_pictures_are_shown_at_a_whole_multiple_and_large_ones_by_their_preview():
    small = report_page(RUN, [entry(width_px=400)])
    assert "max-width:1200px" in small
    assert 'class="pixels"' in small
    large = Page(report_page(RUN, [entry(grid=160, preview="mixed4/all/atlas-160-small.png", width_px=3200)]))
    assert "./mixed4/all/atlas-160-small.png" in large.all("img", "src")
    assert "./mixed4/all/atlas-160.png" in large.all("a", "href")
    assert "./mixed4/all/atlas-160.png" not in large.all("img", "src")


def test_provenance_is_shown_and_a_run_without_atlases_refused():
    page = Page(report_page(dataclasses.replace(RUN, provenance={"config": {"seed": 7}}), [entry()]))
    assert '"seed": 7' in page.text
    with pytest.raises(ValueError, match="at least one atlas"):
        report_page(RUN, [])


def test_figures_of_an_entry_come_from_its_document():
    cell = {"fidelity_whitened": None, "count": 1, "classes": [], "examples": []}
    values = [(0.9, 0, 0.5, 0.0), (0.8, 1, 0.6, 0.1), (0.7, 5, 0.7, 0.2), (None, 0, 0.8, 0.3)]
    cells = [
        {
            **cell,
            "row": 0,
            "col": n,
            "fidelity": f,
            "round_trip": r,
            "coherence": c,
            "saturated": s,
            "consistency": c,
        }
        for n, (f, r, c, s) in enumerate(values)
    ]
    document = {
        "layer": "mixed4",
        "view": "all",
        "grid": 4,
        "icon_px": 8,
        "num_activations": 99,
        "layout": {"trustworthiness": 0.9},
        "baselines": {"fidelity_noise": 0.3, "fidelity_nearest": 0.9, "round_trip": 0.25, "saturated": 0.05},
        "cells": cells,
    }
    made = entry_of(document, kind="all", atlas="a.png", document_path="a.json")
    assert (made.width_px, made.num_cells) == (32, 4)
    known = {name: number for name, number in made.numbers.items() if number is not None}
    assert known == pytest.approx(
        {
            "num_activations": 99,
            "num_cells": 4,
            "fidelity_median": 0.8,
            "fidelity_p5": 0.71,
            "fidelity_noise": 0.3,
            "fidelity_nearest": 0.9,
            "round_trip_top1": 0.5,
            "round_trip_top5": 0.75,
            "round_trip_chance": 0.25,
            "coherence_median": 0.65,
            "consistency_median": 0.65,
            "saturated": 0.15,
            "saturated_real": 0.05,
            "trustworthiness": 0.9,
        }
    )
