"""Files that the stages of a small whole run make for the viewer."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

LATE = "4"


def value(path):
    return json.loads(path.read_text()[len("atlas.receive(") : -len(");\n")])


def array(one):
    dtype = np.dtype(one["type"].lower()).newbyteorder("<")
    return np.frombuffer(zlib.decompress(base64.b64decode(one["data"])), dtype)


def image(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)


@pytest.fixture
def run(small, finished, tmp_path):
    """A finished run with a class atlas: its folder and its config."""
    small["classes"] = [{"class": "cat", "grid": {"sizes": [2], "min_count": 1}}]
    small["grid"]["sizes"] = [3, 4]
    finished(small)
    return tmp_path / "workspace" / "runs" / "small", small


def test_the_viewer_lists_layers_views_and_grids_and_every_file_is_there(run):
    folder, _ = run
    listed = value(folder / "viewer" / "run.js")
    assert (listed["run"], listed["images"], listed["keys"], listed["report"]) == ("small", 60, True, True)
    (layer,) = listed["layers"]
    assert layer["name"] == LATE
    assert [(view["name"], view["kind"], view["title"]) for view in layer["views"]] == [
        ("all", "all", "All activations"),
        ("class-cat", "class", "cat"),
    ]
    assert [[grid["size"] for grid in view["grids"]] for view in layer["views"]] == [[3, 4], [2]]
    for view in layer["views"]:
        for grid in view["grids"]:
            tiles = folder / LATE / view["name"] / f"tiles-{grid['size']}"
            names = {path.name for path in tiles.iterdir()}
            wanted = {"grid.js", "classes-0.js", "icons-0-0.js", "icons-overview-density.js", "crops-0-0.js"}
            assert wanted | {"block-0-0.js", "icons-overview-full.js"} <= names
    assert (folder / "report.html").is_file()


def test_sheets_hold_no_more_than_an_icon_at_a_time_as_floats(small, atlas, monkeypatch):
    from atlas_pipeline.stages.pages import tiles

    at_once, over_ground = [], tiles.over_ground

    def counted(images, level):
        at_once.append(len(images))
        return over_ground(images, level)

    monkeypatch.setattr(tiles, "over_ground", counted)
    small["invert"]["alpha"] = 0.1
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    assert set(at_once) == {1}


def test_what_speaks_against_a_class_is_not_called_by_its_name_alone(small, atlas, tmp_path):
    grid = {"sizes": [2], "min_count": 1}
    small["classes"] = [{"class": "cat", "sign": sign, "grid": grid} for sign in ("positive", "negative")]
    assert atlas("project", small).exit_code == 0
    (layer,) = value(tmp_path / "workspace" / "runs" / "small" / "viewer" / "run.js")["layers"]
    titles = {view["name"]: view["title"] for view in layer["views"]}
    assert titles["class-cat"] == "cat"
    assert titles["class-cat-negative"] == "against cat"


def test_numbers_and_attributions_are_those_of_the_atlas_json(run):
    folder, _ = run
    cells = json.loads((folder / LATE / "all" / "atlas-3.json").read_text())["cells"]
    tiles = folder / LATE / "all" / "tiles-3"
    grid, levels = value(tiles / "grid.js"), value(tiles / "classes-0.js")
    assert grid["classes"] == ["ant", "bee", "cat", "dog", "emu"]
    assert array(grid["count"]).tolist() == [cell["count"] for cell in cells]
    assert np.abs(array(grid["fidelity"]) / 1e4 - [cell["fidelity"] for cell in cells]).max() < 2e-4
    top = array(grid["top"]).reshape(len(cells), -1)
    assert top.tolist() == [[c["index"] for c in cell["classes"]] for cell in cells]
    shares = array(levels["levels"]).reshape(5, len(cells)) / 127
    most, least = (np.array(levels[name])[:, None] for name in ("most", "least"))
    back = np.where(shares > 0, shares * most, shares * least)
    for cell, known in enumerate(cells):
        for one in known["classes"]:
            step = max(most[one["index"], 0], least[one["index"], 0]) / 127
            assert back[one["index"], cell] == pytest.approx(one["attribution"], abs=step)


def test_a_cells_first_example_is_the_patch_around_its_position(run):
    """Images are 32 px, the map has 8 x 8 positions with 10 px receptive fields, and icons are 16 px."""
    from atlas_pipeline.config.loading import parse_config
    from atlas_pipeline.config.run_settings import run_settings
    from atlas_pipeline.engine import Store, artefact_of
    from atlas_pipeline.models.network_cache import receptive_field_of
    from atlas_pipeline.numerics.crop_window import crop_window
    from atlas_pipeline.runs.pipeline_file import steps_of
    from atlas_pipeline.tables.chosen_images import images_of

    folder, small = run
    config = parse_config(small)
    store, steps = Store(config.run.workspace), steps_of(config)
    (index,) = (artefact_of(step, store) for step in steps if step.stage.name == "index")
    settings = run_settings(config)
    field = receptive_field_of(settings.model, LATE, "cpu")
    block = value(folder / LATE / "all" / "tiles-3" / "block-0-0.js")
    image_id, row, col, key, *_ = block["cells"][0][0]
    assert key == index.read(["key"])["key"][image_id].as_py()
    side = min(16, field.field_px)
    (whole,) = images_of(index, [image_id], settings, "cpu").permute(0, 2, 3, 1).numpy()
    top, left = crop_window((row, col), field.map_size, side, 32)
    wanted = whole[top : top + side, left : left + side].astype(int)
    (at_row, at_col), px = block["at"][0], block["px"]
    assert px == side
    shown = image(block["picture"])[at_row * 3 * px :, at_col * 3 * px :][:px, :px]
    # WebP halves the resolution of colours, which shows at this small size.
    assert np.abs(shown - wanted).mean() < 12
    others = np.abs(shown - whole[-side:, -side:]).mean()
    assert np.abs(shown - wanted).mean() < others


def test_the_members_of_a_cell_go_from_the_nearest_to_the_farthest(run, store_of):
    folder, small = run
    made = store_of(small)
    sample, layout = (made(name, view).read() for name, view in (("sample", None), ("project", "all")))
    activation = np.array(sample["activation"].to_pylist(), dtype=np.float64)
    x, y = (layout[name].to_numpy() for name in ("x", "y"))
    cell_row, cell_col = 2 - np.minimum((y * 3).astype(int), 2), np.minimum((x * 3).astype(int), 2)
    block = value(folder / LATE / "all" / "tiles-3" / "block-0-0.js")
    labels = value(folder / "keys" / "keys.js")["labelNames"]
    for (row, col), nearest, members in zip(block["at"], block["cells"], block["ranges"], strict=True):
        here = np.flatnonzero((cell_row == row) & (cell_col == col))
        mean = activation[here].mean(axis=0)
        norms = np.linalg.norm(activation[here], axis=1) * np.linalg.norm(mean)
        cosines = np.sort(activation[here] @ mean / norms)[::-1]
        assert members[0][:5] == nearest[0]
        assert members[0][4] in labels
        assert len(members) == min(7, len(here))
        shown = [one[5] for one in members]
        assert shown[0] == pytest.approx(cosines[0], abs=2e-3)
        assert shown[-1] == pytest.approx(cosines[-1], abs=2e-3)
        assert shown == sorted(shown, reverse=True)


def test_the_names_of_a_map_are_of_regions_whose_activations_agree(run):
    folder, _ = run
    listed = value(folder / "viewer" / "run.js")["layers"][0]["views"][0]
    assert listed["names"] is True
    file = value(folder / LATE / "all" / "names.js")
    agreement = array(file["agreement"]) / 1000
    assert len(agreement) == len(array(file["label"]))
    assert (agreement >= 0.5).all()
    # Every name is the top class of the cell at its place.
    for label, row, col, grid in zip(
        *(array(file[name]).tolist() for name in ("label", "row", "col", "grid")), strict=True
    ):
        cells = json.loads((folder / LATE / "all" / f"atlas-{grid}.json").read_text())["cells"]
        at = (row * grid // 65536, col * grid // 65536)
        (cell,) = (cell for cell in cells if (cell["row"], cell["col"]) == at)
        assert cell["classes"][0]["label"] == file["labels"][label]
    counts = sum(
        cell["count"] for cell in json.loads((folder / LATE / "all" / "atlas-3.json").read_text())["cells"]
    )
    assert array(file["count"])[array(file["grid"]) == 3].sum() <= counts


def test_a_run_without_attributions_has_no_names(small, finished, tmp_path):
    small["sample"] = {**small.get("sample", {}), "attribution": "none"}
    finished(small)
    folder = tmp_path / "workspace" / "runs" / "small"
    assert value(folder / "viewer" / "run.js")["layers"][0]["views"][0]["names"] is False
    assert not list(folder.rglob("names.js"))


def test_places_and_keys_are_of_the_same_images(run):
    folder, _ = run
    keys, places = value(folder / "keys" / "keys.js"), value(folder / LATE / "all" / "places.js")
    assert array(keys["imageId"]).tolist() == list(range(60))
    assert len(keys["key"]) == 60
    slots = array(places["slot"])
    assert sorted(set(slots.tolist())) == list(range(60))
    of_class = value(folder / LATE / "class-cat" / "places.js")
    assert set(array(of_class["slot"]).tolist()) < set(range(60))


def test_of_several_positions_an_image_each_is_known_by_its_number(small, atlas, store_of, tmp_path):
    small["sample"]["positions_per_image"] = 2
    small["classes"] = [{"class": "cat", "grid": {"sizes": [2], "min_count": 1}}]
    assert atlas("project", small).exit_code == 0
    folder, made = tmp_path / "workspace" / "runs" / "small", store_of(small)
    listed = value(folder / "viewer" / "run.js")
    assert (listed["known"], listed["positions"]) == (60, 2)
    selected = made("select", "class-cat").read()["sample_row"].to_pylist()
    assert 0 < len(selected) < 120
    for view, of_view in (("all", list(range(120))), ("class-cat", selected)):
        places = {name: array(column) for name, column in value(folder / LATE / view / "places.js").items()}
        assert (places["slot"].astype(int) * 2 + places["ordinal"]).tolist() == of_view
        x = made("project", view).read()["x"].to_numpy()
        assert np.abs((places["col"] + 0.5) / 65536 - x).max() < 1e-4


def test_without_examples_no_picture_of_an_image_is_in_the_folder(run, atlas, states):
    folder, small = run
    small["stitch"] = {"examples": 0}
    result = atlas("run", small)
    # No task runs again: the patches are just left out.
    assert "0 tasks run" in result.stdout
    assert not any(step.startswith("examples") for step in states(small))
    assert list(folder.rglob("crops-*")) == list(folder.rglob("block-*")) == []
    listed = value(folder / "viewer" / "run.js")
    assert {grid["cropPx"] for view in listed["layers"][0]["views"] for grid in view["grids"]} == {0}


def test_fewer_examples_make_them_alone_anew(run, states):
    _, small = run
    small["stitch"] = {"examples": 4}
    again = {step.split()[0] for step, state in states(small).items() if state != "done"}
    # Fewer images appear as patches, and those are the images that the viewer shows whole.
    assert again == {"examples", "whole_images"}


def maps(folder):
    """(layer, view) -> digest that identifies its map."""
    listed = value(folder / "viewer" / "run.js")
    return {
        (layer["name"], view["name"]): view["map"] for layer in listed["layers"] for view in layer["views"]
    }


@pytest.mark.extended
def test_other_icons_have_another_digest_and_only_another_layout_makes_links_foreign(run, atlas):
    folder, small = run
    digests, known = [value(folder / "viewer" / "run.js")["digest"]], maps(folder)
    bee = {"class": "bee", "grid": {"sizes": [2], "min_count": 1}}
    for more, is_larger in (
        ({"invert": {**small["invert"], "steps": 3}}, False),
        ({"layers": [LATE, "1"], "classes": [*small["classes"], bee]}, True),
    ):
        small |= more
        assert atlas("run", small).exit_code == 0
        digests.append(value(folder / "viewer" / "run.js")["digest"])
        assert known.items() <= maps(folder).items()
        assert (len(maps(folder)) > len(known)) == is_larger
    assert len(set(digests)) == 3
    before = maps(folder)
    small["classes"][0]["perplexity"] = 3
    assert atlas("run", small).exit_code == 0
    after = maps(folder)
    assert {key for key in before if before[key] != after[key]} == {(LATE, "class-cat"), ("1", "class-cat")}


def test_a_view_whose_cells_are_all_too_thin_says_so(small, atlas, tmp_path):
    small["classes"] = [{"class": "cat", "grid": {"sizes": [8], "min_count": 50}}]
    assert atlas("run", small).exit_code == 0
    listed = value(tmp_path / "workspace" / "runs" / "small" / "viewer" / "run.js")
    view = listed["layers"][0]["views"][1]
    assert view["grids"] == []
    assert "activations, fewer than grid.min_count (50)" in view["missing"]


def assert_shown_without_icons(folder):
    (view,) = value(folder / "viewer" / "run.js")["layers"][0]["views"]
    assert (view["grids"], view["missing"]) == ([], "its icons are not made yet")
    for name in ("index.html", f"{LATE}/all/places.js", f"{LATE}/all/thumbnail.webp", "keys/keys.js"):
        assert (folder / name).is_file()
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("command", ["project", "bin"])
def test_a_layer_without_icons_yet_is_shown_by_its_layout(small, atlas, tmp_path, command):
    folder = tmp_path / "workspace" / "runs" / "small"
    assert atlas("index", small).exit_code == 0
    assert not (folder / "index.html").exists()
    assert str(folder / "index.html") in atlas(command, small).stdout
    assert_shown_without_icons(folder)
    assert atlas("view", small, "--no-open").stdout.strip() == str(folder / "index.html")


def test_another_layout_of_a_finished_run_is_shown_before_its_icons(small, finished, atlas, tmp_path):
    folder = tmp_path / "workspace" / "runs" / "small"
    finished(small)
    before = (folder / LATE / "all" / "places.js").read_bytes()
    small["project"]["min_dist"] = 0.3
    assert atlas("project", small).exit_code == 0
    assert_shown_without_icons(folder)
    assert (folder / LATE / "all" / "places.js").read_bytes() != before


@pytest.mark.parametrize(("error", "exit_code"), [(RuntimeError, 3), (KeyboardInterrupt, 130)])
def test_a_run_with_failed_tasks_and_an_interrupted_one_show_what_is_done(
    small, atlas, tmp_path, monkeypatch, error, exit_code
):
    from atlas_pipeline.stages.atlas import invert

    def fails(images, num_threads):
        raise error("no luck")

    monkeypatch.setattr(invert, "pngs_of", fails)
    assert atlas("run", small).exit_code == exit_code
    folder = tmp_path / "workspace" / "runs" / "small"
    assert_shown_without_icons(folder)


def shares_of(folder, view="all", grid=3):
    """(column, value) -> share in every cell, NaN where unknown."""
    listed = value(folder / "viewer" / "run.js")["shares"]
    shares = {}
    for number, one in enumerate(listed):
        file = value(folder / LATE / view / f"tiles-{grid}" / f"share-{number}.js")
        levels = array(file["levels"]).astype(float)
        shares[one["column"], one["value"]] = np.where(levels == -32768, np.nan, levels * file["step"])
    return shares


def test_shares_of_labels_and_metadata_are_those_of_a_naive_loop(small, atlas, store_of, tmp_path):
    small["classes"] = [{"class": "cat", "grid": {"sizes": [2], "min_count": 1}}]
    table = tmp_path / "known.csv"
    rows = [f"{i},{i * 0.5 if i % 3 else 'nan'},{'sea' if i % 4 else ''}" for i in range(50)]
    table.write_text("\n".join(["key,depth,place", *rows]))
    small["images"]["metadata"] = str(table)
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    folder, made = tmp_path / "workspace" / "runs" / "small", store_of(small)
    index = made("index", None).read()
    for view, grid in (("all", 3), ("class-cat", 2)):
        shares = shares_of(folder, view, grid)
        layout, cells = made("project", view).read().to_pylist(), made("bin", view).read().to_pylist()
        for at, cell in enumerate(cells):
            members = [
                one["image_id"]
                for one in layout
                if min(int(one["x"] * grid), grid - 1) == cell["col"]
                and min(int(one["y"] * grid), grid - 1) == grid - 1 - cell["row"]
            ]
            assert len(members) == cell["count"]
            labels = index["label"].take(members).to_pylist()
            total = sum(shares[key][at] for key in shares if key[0] == "label")
            assert total == pytest.approx(1, abs=1e-3)
            first = index["label"].to_pylist()[0]
            names = sorted(set(index["label"].to_pylist()))
            of_first = [key for key in shares if key[0] == "label"][names.index(first)]
            assert shares[of_first][at] == pytest.approx(np.mean([one == first for one in labels]), abs=1e-3)
            depths = [i * 0.5 for i in members if i < 50 and i % 3]
            places = [i % 4 > 0 for i in members if i < 50 and i % 4]
            assert shares["depth", None][at] == pytest.approx(
                np.mean(depths) if depths else np.nan, abs=1e-2, nan_ok=True
            )
            assert shares["place", "sea"][at] == pytest.approx(
                np.mean(places) if places else np.nan, nan_ok=True
            )


def test_other_metadata_makes_the_shares_alone_anew_and_bad_metadata_is_one_line(
    run, atlas, states, tmp_path
):
    _, small = run
    table = tmp_path / "known.csv"
    small["images"]["metadata"] = str(table)
    table.write_text("key,a\n3,1\n")
    assert {step.split()[0] for step, state in states(small).items() if state != "done"} == {"shares"}
    table.write_text("name,a\n3,1\n")
    result = atlas("run", small)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "wanted are 'key'" in result.stderr
