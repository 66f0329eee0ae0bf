"""The patch test, on a network with known answers and hand-made cells, and as a whole run."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from atlas_pipeline import engine
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.views import ComparisonConfig
from atlas_pipeline.engine import Runtime, Store, artefact_of
from atlas_pipeline.engine.stage import Output, Stage, Step
from atlas_pipeline.errors import ConfigError, ImagesError
from atlas_pipeline.patch_test import patch_answers, patch_images
from atlas_pipeline.patch_test import steps as patch_test
from atlas_pipeline.pictures.png_codec import picture_of, png_of
from atlas_pipeline.stages.sampling import index
from atlas_pipeline.tables.columns import EXAMPLE_TYPE, matrix_column
from atlas_pipeline.view_atlas import ViewAtlas
from atlas_pipeline.views import class_names
from atlas_pipeline.views.view import ComparisonPopulation

# Predicts "striped" if the left half of the top-left 8 x 8 px is much lighter than the right half.
NETWORK = """
import torch
from torch import nn

class Striped(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.AvgPool2d(4)

    def forward(self, images):
        light = self.map(images).mean(dim=1)[:, :2]
        contrast = light[:, :, 0].mean(1) - light[:, :, 1].mean(1)
        return torch.stack([torch.zeros_like(contrast), 10 * (contrast - 0.7)], dim=1)

def build():
    return Striped()

PREPROCESS = dict(resize=32, crop=32, mean=(0, 0, 0), std=(1, 1, 1))
LABELS = ["plain", "striped"]
"""
SIDE = 8


def stripe(dark=0, light=255):
    icon = np.full((SIDE, SIDE, 3), dark, np.uint8)
    icon[:, : SIDE // 2] = light
    return icon


def given_table(task, jobs, runtime):
    return [Output(table=TABLES[job.config["name"]], notes=NOTES) for job in jobs]


GIVEN = Stage(name="given", version=1, unit="", split=lambda job: [{}], size=lambda _: 1, compute=given_table)
NOTES = {"classes": [0, 1], "num_classes": 2}
TABLES = {
    # The last of the three cells favours "plain", the others "striped".
    "bin": pa.table(
        {
            "row": pa.array([0, 1, 2], pa.int16()),
            "col": pa.array([1, 1, 0], pa.int16()),
            "attribution": matrix_column(np.array([[0.0, 1.0], [0.5, 2.0], [1.0, 0.0]], np.float32)),
            "examples": pa.array(
                [[{"image_id": i, "row": 0, "col": i}] for i in range(3)], pa.list_(EXAMPLE_TYPE)
            ),
        }
    ),
    "invert": pa.table({"icon": [png_of(stripe(40)), png_of(stripe()), png_of(stripe(80))]}),
    "whole_invert": pa.table(
        {
            "row": pa.array([4, 5], pa.int16()),
            "col": pa.array([6, 7], pa.int16()),
            "icon": [png_of(np.full((SIDE, SIDE, 3), 90, np.uint8))] * 2,
        }
    ),
}


def compared(indices, labels):
    population = ComparisonPopulation(indices=indices, labels=labels, top=None)
    return SimpleNamespace(population=population, name=f"compare-{'-'.join(labels)}")


VIEW = compared((0, 1), ("plain", "striped"))


@pytest.fixture
def config(tmp_path):
    """Config over 48 plain images, of which 8 have a light 4 px square at the top, and striped ones."""
    (tmp_path / "network.py").write_text(NETWORK)
    for name in ("plain", "striped"):
        (tmp_path / "images" / name).mkdir(parents=True)
    for number in range(48):
        pixels = np.full((32, 32, 3), 50 + number, np.uint8)
        pixels[:4, 4 * number : 4 * number + 4] = 200
        Image.fromarray(pixels).save(tmp_path / f"images/plain/{number:02}.png")
    striped = np.zeros((32, 32, 3), np.uint8)
    striped[:SIDE, :SIDE] = stripe()
    Image.fromarray(striped).save(tmp_path / "images/striped/0.png")
    # This image is labelled plain but predicted striped, so the network gets it wrong.
    Image.fromarray(striped).save(tmp_path / "images/plain/wrong.png")
    return {
        "name": "striped",
        "model": {"source": "python", "name": f"{tmp_path}/network.py:build"},
        "images": {"source": "folder", "path": str(tmp_path / "images")},
        "layers": ["map"],
        "invert": {"size_px": SIDE},
        "patch_test": {"sizes": [0.25, 0.5], "fixed_size": 0.25, "num_patches": 5},
        "run": {"workspace": str(tmp_path / "workspace"), "device": "cpu"},
    }


def steps_of(config, view=VIEW):
    made = parse_config(config)
    given = {
        name: Step(stage=GIVEN, config={"name": name}, layer="map", view=view.name, grid=3) for name in TABLES
    }
    of_view = ViewAtlas(steps=(), cells={3: given["bin"]}, icons={3: given["invert"]})
    whole = ViewAtlas(steps=(), cells={}, icons={3: given["whole_invert"]})
    return engine.ordered(patch_test.steps(made, view, index.step(made), of_view, whole))


def finished(config, batch_size=None, **how):
    """Run all steps; returns stage -> artefact."""
    store, steps = Store(config["run"]["workspace"]), steps_of(config, **how)
    engine.run(steps, store, runtime=Runtime(batch_size=batch_size), reporter=engine.SilentReporter())
    return {step.stage.name: artefact_of(step, store) for step in steps}


def rows_of(made):
    files = {row["file"]: row["content"] for row in made["patch_report"].read().to_pylist()}
    return list(csv.DictReader(io.StringIO(files["patch-test.csv"].decode()))), files


def test_the_stripe_makes_every_image_striped_where_the_network_looks_and_noise_none(config):
    rows, files = rows_of(finished(config))
    # Each of the four kinds has two patches, each at two sizes in four corners.
    assert len(rows) == (2 + 2 + 2 + 2) * 2 * 4
    by_place = {(r["kind"], r["row"], r["col"], r["size"], r["corner"]): r for r in rows}
    strongest = by_place["icon", "1", "1", "0.25", "top left"]
    assert (strongest["num_images"], strongest["num_becomes"], strongest["num_leaves"]) == ("48", "48", "48")
    assert (strongest["pull"], strongest["rank"], strongest["size_px"]) == ("1.5", "0", "8")
    # At 16 px the light half fills the region that the network sees; the other corners are outside it.
    assert {r["num_becomes"] for key, r in by_place.items() if key[4] != "top left" or key[3] == "0.5"} == {
        "0"
    }
    assert {r["num_becomes"] for r in rows if r["kind"] in ("noise", "random", "crop")} == {"0"}
    assert files["patch-test.md"].decode().count("100.0 % (92.6 to 100.0)") >= 4
    assert Image.open(io.BytesIO(files["patch-test.png"])).width > 1000


def test_patches_are_what_they_are_said_to_be(config):
    patches = finished(config)["patches"].read().to_pylist()
    of = {kind: [p for p in patches if p["kind"] == kind] for kind in ("icon", "crop", "noise", "random")}
    assert [(p["row"], p["col"]) for p in of["icon"]] == [(1, 1), (0, 1)]  # the strongest pull first
    np.testing.assert_array_equal(picture_of(of["icon"][0]["patch"]), stripe())
    assert [p["image_id"] for p in of["crop"]] == [1, 0]
    crop = picture_of(of["crop"][0]["patch"])
    # The receptive field of a position is 4 px: here, the light square of image 1.
    assert crop.shape == (4, 4, 3)
    assert (crop == 200).all()
    assert sorted((p["row"], p["col"]) for p in of["random"]) == [(4, 6), (5, 7)]
    assert picture_of(of["noise"][0]["patch"]).shape == (SIDE, SIDE, 3)


def test_only_images_of_the_class_that_the_network_gets_right_are_taken(config):
    images = finished(config)["patch_images"]
    keys = finished(config)["index"].read().to_pylist()
    taken = [keys[i]["key"] for i in images.read()["image_id"].to_pylist()]
    assert taken == [f"plain/{number:02}.png" for number in range(48)]
    assert images.notes["labelled"]
    assert images.notes["num_candidates"] == 49
    assert min(images.read()["probability"].to_pylist()) > 0.5


def test_fewer_images_are_a_random_part_of_them_whatever_was_tried_at_once(config):
    fewer = {**config, "patch_test": {**config["patch_test"], "num_images": 7}}
    more = {**config, "patch_test": {**config["patch_test"], "num_images": 20}}
    seven, twenty = (finished(c)["patch_images"].read()["image_id"].to_pylist() for c in (fewer, more))
    assert len(seven) == 7
    assert set(seven) < set(twenty)
    assert seven != list(range(7))


def test_images_without_labels_of_the_networks_classes_are_taken_by_its_answer(config, tmp_path):
    folder = tmp_path / "images"
    for name, other in (("plain", "1 these"), ("striped", "2 those"), ("more", "3 empty")):
        (folder / name).rename(folder / other) if name != "more" else (folder / other).mkdir()
    made = finished(config)
    assert not made["patch_images"].notes["labelled"]
    assert made["patch_images"].num_rows == 48
    _, files = rows_of(made)
    assert "images that the network takes for plain" in files["patch-test.md"].decode()


def test_the_size_of_a_batch_and_of_a_task_change_nothing(config, tmp_path, monkeypatch):
    def of(name, **how):
        other = {**config, "run": {**config["run"], "workspace": str(tmp_path / name)}}
        made = finished(other, **how)
        return made["patch_answers"].num_parts, made["patch_answers"].read(), rows_of(made)[1]

    parts, answers, files = of("one")
    assert parts == 2
    monkeypatch.setattr(patch_answers, "IMAGES_PER_TASK", 5)
    other_parts, other_answers, other_files = of("other", batch_size=3)
    assert other_parts == 10
    assert answers["answer"].to_pylist() == other_answers["answer"].to_pylist()
    assert files == other_files


def test_a_class_without_any_image_that_the_network_gets_right_is_refused(config, tmp_path):
    (tmp_path / "images/striped/0.png").rename(tmp_path / "images/plain/also-wrong.png")
    backwards = compared((1, 0), ("striped", "plain"))
    with pytest.raises(ImagesError, match="none of the images is labelled 'striped'"):
        finished(config, view=backwards)
    Image.new("RGB", (32, 32)).save(tmp_path / "images/striped/black.png")
    with pytest.raises(ImagesError, match="gets none of the 1 images of 'striped' right; give more images"):
        finished(config, view=backwards)


def test_where_no_cell_pulls_the_report_says_so_and_there_is_nothing_to_see(config, monkeypatch):
    none = TABLES["bin"].filter(pa.array([False, False, True]))
    monkeypatch.setitem(TABLES, "bin", none)
    made = finished(config)
    assert made["patch_report"].num_rows == 0
    assert made["patch_report"].notes["remarks"] == [
        "There is nothing to paste: of the comparison's 1 cells 0 pull from plain to striped."
    ]


def test_fewer_cells_than_asked_for_are_all_taken_and_the_report_says_so(config):
    made = finished(config)
    (remark,) = made["patch_report"].notes["remarks"]
    assert remark == "2 patches in place of 5: of the comparison's 3 cells 2 pull from plain to striped."
    assert remark in rows_of(made)[1]["patch-test.md"].decode()


def test_icons_larger_than_the_image_are_pasted_at_their_share_of_it(config, monkeypatch):
    large = [png_of(np.asarray(Image.fromarray(stripe()).resize((64, 64), 0)))] * 3
    monkeypatch.setitem(TABLES, "invert", pa.table({"icon": large}))
    rows, _ = rows_of(finished({**config, "invert": {"size_px": 64}}))
    (row,) = [
        r for r in rows if (r["kind"], r["rank"], r["size"], r["corner"]) == ("icon", "0", "0.25", "top left")
    ]
    assert (row["num_becomes"], row["size_px"]) == ("48", "8")


def test_the_comparison_of_the_config_is_taken_with_all_it_says(small):
    of_config = {"left": "bee", "right": "class 3", "top": 77, "layers": ["4"]}
    made = parse_config({**small, "comparisons": [of_config, {"left": "ant", "right": "emu"}]})
    asked = patch_test.with_patch_test(made, "Bee,dog", num_images=5)
    (entry,) = asked.comparisons
    assert (entry.left, entry.top, entry.patch_test) == ("bee", 77, True)
    assert asked.patch_test.num_images == 5
    (other,) = patch_test.with_patch_test(made, "dog, bee").comparisons
    assert other == ComparisonConfig(left="dog", right="bee", patch_test=True)
    assert patch_test.with_patch_test(made, None) == made


@pytest.mark.parametrize(
    ("compare", "says"), [("cat", "not two classes"), ("a,b,c", "by its index"), ("cat,class 2", "twice")]
)
def test_what_is_no_comparison_is_refused(small, compare, says):
    with pytest.raises(ConfigError, match=says):
        patch_test.with_patch_test(parse_config(small), compare)


def test_a_whole_run_from_the_command(small, atlas, tmp_path):
    # The untrained network predicts "dog" for nearly every image.
    comparison = {"left": "dog", "right": "ant", "grid": {"sizes": [2], "min_count": 2}}
    config = {
        **small,
        "grid": {"sizes": [2], "min_count": 2},
        "comparisons": [comparison],
        "patch_test": {"sizes": [0.3], "num_patches": 2},
    }
    arguments = ("--compare", "dog,ant", "--num-images", "4")
    nothing = atlas("patch-test", config)
    assert nothing.exit_code == 2
    assert "--compare cat,dog" in nothing.stderr
    assert atlas("patch-test", config, "--layer", "4").exit_code == 2
    first = atlas("patch-test", config, *arguments)
    assert first.exit_code == 0, first.stderr
    folder = tmp_path / "workspace/runs/small/4/compare-dog-ant"
    files = ["patch-test.csv", "patch-test.md", "patch-test.png"]
    assert sorted(f.name for f in folder.iterdir()) == files
    for words in ("Patch test: dog to ant, 4", "becomes ant", "random cell", *files):
        assert words in first.stdout
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    again = atlas("patch-test", config, *arguments)
    assert "0 tasks run" in again.stdout
    # The whole run makes the comparison's atlas; files that the command made stay beside it.
    config["comparisons"] = [{**comparison, "patch_test": True}]
    config["patch_test"]["num_images"] = 4
    assert atlas("run", config).exit_code == 0
    assert {f: (folder / f).read_bytes() for f in files} == before
    assert (folder / "atlas-2.png").is_file()


def test_without_examples_a_report_has_no_picture_and_says_why(config):
    rows, files = rows_of(finished({**config, "stitch": {"examples": 0}}))
    assert set(files) == {"patch-test.csv", "patch-test.md"}
    assert rows == rows_of(finished(config))[0]
    assert "no pictures of it, for stitch.examples is 0" in files["patch-test.md"].decode()


def test_without_examples_the_picture_that_a_command_made_goes_too(small, atlas, tmp_path):
    config = {
        **small,
        "grid": {"sizes": [2], "min_count": 2},
        "comparisons": [{"left": "dog", "right": "ant", "grid": {"sizes": [2], "min_count": 2}}],
        "patch_test": {"sizes": [0.3], "num_patches": 2},
    }
    arguments = ("--compare", "dog,ant", "--num-images", "4")
    assert atlas("patch-test", config, *arguments).exit_code == 0
    folder = tmp_path / "workspace/runs/small/4/compare-dog-ant"
    assert (folder / "patch-test.png").is_file()
    config["stitch"] = {"examples": 0}
    assert atlas("run", config).exit_code == 0
    left = ["patch-test.csv", "patch-test.md"]
    assert sorted(path.name for path in folder.glob("patch-test*")) == left
    again = atlas("patch-test", config, *arguments)
    assert again.exit_code == 0, again.stderr
    assert sorted(path.name for path in folder.glob("patch-test*")) == left
    assert [line for line in again.stdout.splitlines() if "patch-test." in line] == [
        str(folder / name) for name in left
    ]


@pytest.mark.parametrize(
    ("own", "last", "meaning"),
    [
        (["crane", "kit fox", "zebra"], 2, [2]),  # by name, at any index
        (["n02391049", "other"], 1, [0]),  # by WordNet id
        (["1", "2", "3", "4"], 3, [3]),  # by index: as many labels as the network has
        (["horse", "cow"], 1, None),
        (None, 3, [3]),
        (None, 2, None),
    ],
)
def test_whose_labels_mean_the_class(monkeypatch, own, last, meaning):
    monkeypatch.setattr(class_names, "class_names", lambda *place: own)
    monkeypatch.setattr(class_names, "wordnet_ids", lambda spec, num: ("n1", "n2", "n3", "n02391049"))
    settings = SimpleNamespace(model=None, source="folder", path="", label_column=None)
    job = SimpleNamespace(config=SimpleNamespace(class_=3), settings=SimpleNamespace(run=settings))
    network = SimpleNamespace(class_names=("crane", "crane", "kit fox", "Zebra"))
    assert patch_images._labels_of_class(job, np.arange(last + 1), network) == meaning
