"""Class atlases and comparisons in whole runs: the steps that they share and the contents of their files."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.pictures import overview
from atlas_pipeline.publish import sheets as publish_sheet

LATE = "4"
GRID = {"sizes": [3], "min_count": 2}


@pytest.fixture
def views(small) -> dict:
    config = copy.deepcopy(small)
    config["classes"] = [{"class": "ant", "grid": GRID}, {"class": "cat", "filter": "rank", "grid": GRID}]
    config["comparisons"] = [{"left": "ant", "right": "emu", "grid": GRID}]
    return config


def _folder(config: dict) -> Path:
    return Path(config["run"]["workspace"]) / "runs" / config["name"]


def _to_run(states: dict[str, str]) -> set[str]:
    return {step for step, state in states.items() if state != "done"}


def test_a_run_makes_the_layer_atlas_the_class_atlases_and_the_comparisons(views, finished, atlas, states):
    finished(views)
    assert set(states(views).values()) == {"done"}
    for view in ("all", "class-ant", "compare-ant-emu"):
        document = json.loads((_folder(views) / LATE / view / "atlas-3.json").read_text())
        assert document["view"] == view
        assert document["num_activations"] >= sum(cell["count"] for cell in document["cells"]) > 0
        assert (_folder(views) / LATE / view / "atlas-3.png").is_file()
        assert view in (_folder(views) / "report.html").read_text() or view == "all"
        names = {"class-ant": {"label": "ant"}, "compare-ant-emu": {"axis": ["ant", "emu"]}}.get(view, {})
        assert names.items() <= document["provenance"]["config"].items()
    assert "0 tasks run" in atlas("run", views).stdout


def test_a_new_class_computes_its_own_view_alone(views, finished, states):
    finished(views)
    more = copy.deepcopy(views)
    more["classes"].append({"class": "emu", "grid": GRID})
    assert {step.split()[2] for step in _to_run(states(more))} == {"class-emu"}
    assert {step.split()[0] for step in _to_run(states(more))} >= {"select", "project", "bin", "invert"}


def test_all_makes_one_for_every_class(all_classes, finished, states):
    listed = {word for step in states(all_classes) for word in step.split() if word.startswith("class-")}
    assert listed == {f"class-{name}" for name in ("ant", "bee", "cat", "dog", "emu")}
    assert (_folder(finished(all_classes)) / "class-atlases.png").is_file()


def test_an_activation_of_a_comparison_lies_where_its_attributions_say(views, finished, store_of):
    made = store_of(finished(views))
    chosen, layout = made("select", "compare-ant-emu"), made("project", "compare-ant-emu").read()
    attribution = made("sample", None).read(["attribution"])["attribution"].to_pylist()
    rows = chosen.read()["sample_row"].to_pylist()
    difference = np.array([attribution[row][4] - attribution[row][0] for row in rows])
    scale = np.percentile(np.abs(difference), 99)
    assert np.allclose(layout["x"].to_numpy(), (np.clip(difference / scale, -1, 1) + 1) / 2, atol=1e-3)
    assert 0 <= layout["y"].to_numpy().min() <= layout["y"].to_numpy().max() <= 1


def test_the_picture_of_a_comparison_stands_over_its_axis(views, finished):
    folder = _folder(finished(views)) / LATE
    grid_px = json.loads((folder / "compare-ant-emu" / "atlas-3.json").read_text())["icon_px"] * 3
    with Image.open(folder / "compare-ant-emu" / "atlas-3.png") as picture:
        assert picture.width == grid_px
        assert picture.height > grid_px * 1.1
    with Image.open(folder / "class-ant" / "atlas-3.png") as picture:
        assert picture.size == (grid_px, grid_px)


def test_a_class_that_nothing_speaks_for_is_said_and_the_others_go_on(small, atlas, tmp_path):
    # Weights to "emu" are negative and activations are not, so no attribution is positive.
    network = (tmp_path / "network.py").read_text().replace("def build():", "def plain():")
    network += (
        "\ndef build():\n    network = plain()\n"
        "    network[-1].weight.data[4] = -network[-1].weight.data[4].abs()\n    return network\n"
    )
    (tmp_path / "network.py").write_text(network)
    config = {
        **small,
        "classes": [{"class": name, "grid": GRID} for name in ("emu", "ant")],
        "sample": {"maxpool_gradient": "exact"},
    }
    result = atlas("run", config)
    assert result.exit_code == 0, result.stderr
    assert "4, class-emu: none of 60 activations has an attribution above 0 to the class" in result.output
    assert not list((_folder(config) / LATE).glob("class-emu/atlas*"))
    assert (_folder(config) / LATE / "class-ant" / "atlas-3.png").is_file()


def test_too_few_for_any_cell_is_said_with_what_would_work(small, atlas):
    few = {"sizes": [9], "min_count": 25}
    config = {**small, "classes": [{"class": "ant", "grid": few}]}
    result = atlas("run", config)
    assert result.exit_code == 0, result.stderr
    assert "class-ant, grid 9: " in result.output
    assert "would work" in result.output or "fewer than grid.min_count (25)" in result.output


def test_a_perplexity_above_what_the_sample_bears_is_lowered_and_said(small, atlas):
    config = {**small, "classes": [{"class": "ant", "top": 13, "filter": "magnitude", "grid": GRID}]}
    result = atlas("run", config)
    assert result.exit_code == 0, result.stderr
    assert "t-SNE's perplexity lowered to 4, because it has only 13 distinct activations" in result.output


@pytest.mark.parametrize(
    ("section", "entries", "message"),
    [
        ("classes", [{"class": "bea"}], "class 'bea' is not in the network's 5"),
        ("classes", [{"class": "bee"}, {"class": "class 1"}], "class-bee is asked for 2 times at layer '4'"),
        ("comparisons", [{"left": "bee", "right": "class 1"}], "left and right are both 'bee'"),
    ],
)
def test_a_class_that_cannot_be_is_one_line(small, atlas, section, entries, message):
    result = atlas("run", {**small, section: entries})
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_selections_of_one_or_two_activations_have_a_layout(small, atlas):
    # Two activations of the sample have a positive attribution to each of these classes, but not to bee.
    kinds = {"ant": ("tsne", 1), "cat": ("tsne", 2), "dog": ("umap", 1), "emu": ("umap", 2)}
    tiny = {"filter": "magnitude", "grid": {"sizes": [2], "min_count": 1}}
    small["classes"] = [
        {"class": name, "method": method, "top": top, **tiny} for name, (method, top) in kinds.items()
    ]
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    for name, (_, top) in kinds.items():
        document = json.loads((_folder(small) / LATE / f"class-{name}" / "atlas-2.json").read_text())
        assert document["num_activations"] == top


@pytest.fixture
def all_classes(small) -> dict:
    return {**small, "classes": [{"class": "all", "grid": GRID}]}


def test_a_sheet_of_too_many_says_how_many_it_leaves_out(all_classes, finished, atlas, monkeypatch):
    (_folder(finished(all_classes)) / "class-atlases.png").unlink()
    monkeypatch.setattr(overview, "LARGEST_PX", 600)
    assert atlas("run", all_classes).exit_code == 0
    report = (_folder(all_classes) / "report.html").read_text()
    there = len(list(_folder(all_classes).glob(f"{LATE}/class-*/atlas-3.png")))
    assert there > 1
    assert f"1 of {there} class atlases on one sheet" in report
    assert "All layers on one sheet" in report
    with Image.open(_folder(all_classes) / "class-atlases.png") as sheet:
        assert max(sheet.size) <= 600


def test_a_full_sheet_has_the_first_atlases_of_each_layer():
    def entry(layer, view):
        return SimpleNamespace(layer=layer, view=view)

    every = [entry(layer, view) for view in "abcdef" for layer in ("early", "late")]
    chosen = publish_sheet._first_of_each_layer(every, 5)
    assert [(one.view, one.layer) for one in chosen] == [
        ("a", "early"),
        ("a", "late"),
        ("b", "early"),
        ("b", "late"),
        ("c", "early"),
    ]


def test_a_sheet_is_drawn_again_only_when_what_is_on_it_changes(all_classes, finished, atlas, monkeypatch):
    drawn, draw = [], publish_sheet.Sheet.draw

    def drawing(sheet):
        drawn.append(sheet.file)
        return draw(sheet)

    monkeypatch.setattr(publish_sheet.Sheet, "draw", drawing)
    finished(all_classes)
    drawn.clear()
    assert atlas("run", all_classes).exit_code == 0
    assert drawn == []
    spoilt = _folder(all_classes) / "overview.png"
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[:-1])
    assert atlas("run", all_classes).exit_code == 0
    assert drawn == ["overview.png"]
    assert spoilt.read_bytes() == whole
    drawn.clear()
    all_classes["classes"][0]["top"] = 7
    assert atlas("run", all_classes).exit_code == 0
    assert drawn == ["class-atlases.png"]


def test_page_and_report_are_there_before_a_sheet_is_drawn(all_classes, finished, atlas, monkeypatch):
    finished(all_classes)
    for name in ("index.html", "report.html", "overview.png", "class-atlases.png"):
        (_folder(all_classes) / name).unlink()

    def starve(sheet):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(publish_sheet.Sheet, "draw", starve)
        assert atlas("run", all_classes).exit_code == 2
    assert {"index.html", "report.html"} <= {path.name for path in _folder(all_classes).iterdir()}
    assert atlas("run", all_classes).exit_code == 0
    assert (_folder(all_classes) / "class-atlases.png").is_file()
