"""Sheets of many atlases: names of the panels, shared text, and the largest number of atlases."""

import json

import pytest
from drawn_figures import drawn, text_of
from hand_made import write_atlas

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure import SheetRequest, save_figure
from atlas_pipeline.figure.request import Print
from atlas_pipeline.figure.sheet import draw_sheet
from atlas_pipeline.reader import open_run


def test_a_negative_class_atlas_says_that_it_speaks_against_its_class(made_run, tmp_path):
    folder = made_run()
    view = "class-cost-5-or-6-negative"
    write_atlas(folder, "conv2", view, 6, False, True)
    path = folder / "conv2" / view / "atlas-6.json"
    document = json.loads(path.read_text())
    for cell in document["cells"]:
        # The class of the atlas is not among the top classes of a cell, as is usual for such an atlas.
        cell["classes"] = [of for of in cell["classes"] if of["index"] != 2]
    path.write_text(json.dumps(document))
    written = drawn(folder, tmp_path / "fig.pdf", view=view)
    text = " ".join(text_of(written[0]).split())
    assert "Class atlas against cost $5 or $6: conv2 of demo" in text
    assert "that speak against cost $5 or $6, laid out by" in text
    assert "speak for" not in text
    assert "of lowest attribution to it" in written[2].read_text()
    save_figure(open_run(folder), SheetRequest(kind="classes"), tmp_path / "sheet.pdf")
    lines = [line.strip() for line in text_of(tmp_path / "sheet.pdf").splitlines()]
    assert {"cost $5 or $6", "against cost $5 or $6"} <= set(lines)
    assert r"against cost \$5 or \$6 (" in (tmp_path / "sheet-methods.md").read_text()


def test_sheets_show_every_layer_and_every_class(made_run, tmp_path):
    run = open_run(made_run())
    save_figure(run, SheetRequest(kind="layers"), tmp_path / "layers.pdf")
    save_figure(run, SheetRequest(kind="classes"), tmp_path / "classes.pdf")
    lines = text_of(tmp_path / "layers.pdf").splitlines()
    assert {"conv1", "conv2"} <= {line.strip() for line in lines}
    assert "cost $5 or $6" in text_of(tmp_path / "classes.pdf")
    assert "1 class · activations, median fidelity" in text_of(tmp_path / "classes.pdf")
    methods = (tmp_path / "layers-methods.md").read_text()
    assert "of layer `conv1`" in methods
    assert "Made alike, each with a layout of its own: `conv2` (" in methods


def test_a_sheet_of_aligned_layers_says_so(made_run, tmp_path):
    folder = made_run()
    save_figure(open_run(folder), SheetRequest(kind="layers"), tmp_path / "apart.pdf")
    for path in folder.rglob("atlas-*.json"):
        document = json.loads(path.read_text())
        document["provenance"]["inputs"]["project"]["config"]["aligned"] = {"layer": 0, "num_layers": 2}
        path.write_text(json.dumps(document))
    save_figure(open_run(folder), SheetRequest(kind="layers"), tmp_path / "together.pdf")
    apart, together = (" ".join(text_of(tmp_path / f"{name}.pdf").split()) for name in ("apart", "together"))
    assert "each with a map of its own" in apart
    assert "each by itself" in apart
    assert "laid out together" in together
    assert "cosine, 2 layers together);" in together


def test_where_settings_differ_the_sheet_says_so(made_run, tmp_path):
    folder = made_run()
    save_figure(open_run(folder), SheetRequest(kind="layers"), tmp_path / "alike.pdf")
    path = folder / "conv2" / "all" / "atlas-6.json"
    document = json.loads(path.read_text())
    document["provenance"]["inputs"]["project"]["config"]["num_neighbors"] = 9
    document["provenance"]["inputs"]["bin"]["config"]["min_count"] = 7
    path.write_text(json.dumps(document))
    _, _, methods = save_figure(open_run(folder), SheetRequest(kind="layers"), tmp_path / "other.pdf")
    alike, other = (" ".join(text_of(tmp_path / f"{name}.pdf").split()) for name in ("alike", "other"))
    assert "laid out by UMAP (20 neighbours, minimum distance 0.1, cosine), each by itself" in alike
    assert "a cell that holds 4 or more. " in alike
    assert "laid out with settings that differ, each by itself" in other
    assert "a cell that holds 4 or more, up to 7 where atlases differ. " in other
    words = "Made alike but for settings that differ (layout, least count of a cell), each with"
    assert words in methods.read_text()


def test_a_sheet_of_some_classes_has_them_in_the_order_asked_for(made_run):
    folder, own = made_run(), "class-cost-5-or-6"
    write_atlas(folder, "conv2", f"{own}-negative", 6, False, True)
    for views in ((f"{own}-negative", own), (own,)):
        _, facts, _ = draw_sheet(open_run(folder), SheetRequest(kind="classes", views=views))
        assert tuple(of.atlas.view for of in facts) == views
        # Only a reduced picture of each atlas was read, and it was released.
        assert all("image" not in vars(of.atlas) for of in facts)
    for request, words in (
        (SheetRequest(kind="classes", views=(own[:-1],)), f"not in the class atlases .*nearest: '{own}'"),
        (SheetRequest(kind="layers", views=("all",)), "leave --layer and --view out"),
    ):
        with pytest.raises(ConfigError, match=words):
            draw_sheet(open_run(folder), request)


def test_more_atlases_than_a_page_holds_are_refused_before_they_are_read(made_run):
    folder = made_run()
    for number in range(399):
        # An atlas that cannot be drawn: only its head is valid and says that it is a class atlas.
        path = folder / "conv2" / f"class-c{number}" / "atlas-6.json"
        path.parent.mkdir()
        path.write_text('{"selection":{"class":1},\n"cells":[\n')
    for width, height in ((180.0, 3.44), (420.0, 1.21)):
        size = Print(width_mm=width)
        with pytest.raises(ConfigError, match=rf"400 atlases are {height} m tall .* --view class-a,class-b"):
            draw_sheet(open_run(folder), SheetRequest(kind="classes", size=size))
