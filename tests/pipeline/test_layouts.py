"""Layouts of whole runs: with another engine, fitted on a subset, and compared with another seed."""

import json

import numpy as np
import pytest
from PIL import Image


def projected(small, **project):
    return {**small, "project": {**small["project"], **project}}


def test_fitted_on_a_part_the_rest_is_placed_and_all_are_in_cells(small, atlas, store_of):
    config = projected(small, fit_on=20)
    result = atlas("run", config)
    assert result.exit_code == 0, result.stderr
    made = store_of(config)
    near = made("neighbors", "all").read()
    assert np.stack(near["indices"].to_numpy()).max() < 20
    assert near.num_rows == 60
    layout = made("project", "all")
    assert layout.num_rows == 60
    assert (np.stack([layout.read()["x"], layout.read()["y"]]) >= 0).all()
    assert 0 <= layout.notes["quality"]["seed_agreement"] <= 1
    # fit_on equal to the number of activations gives the same layout as no fit_on.
    atlas("project", projected(small, fit_on=60))
    atlas("project", small)
    whole, plain = (store_of(c)("project", "all").read() for c in (projected(small, fit_on=60), small))
    assert whole.equals(plain)


def test_a_parallel_layout_and_one_that_is_not_compared(small, atlas, store_of):
    config = projected(small, engine="parallel", compare_seeds=False)
    assert atlas("project", config).exit_code == 0
    quality = store_of(config)("project", "all").notes["quality"]
    assert "seed_agreement" not in quality
    assert quality["trustworthiness"] > 0.5


def test_white_images_lie_at_one_place_and_the_run_says_how_many(small, atlas, store_of, tmp_path):
    rng = np.random.default_rng(0)
    for folder in "abcd":
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((32, 32, 3), 255, np.uint8)
            if number % 2:
                pixels = rng.integers(0, 256, pixels.shape, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{number}.png")
    config = {**small, "images": {"source": "folder", "path": str(tmp_path / "photos")}, "layers": ["1"]}
    result = atlas("run", config)
    assert result.exit_code == 0, result.stderr
    said = "1, all: 19 of 40 activations repeat another one exactly (the largest group: 20)"
    assert said in result.output
    made = store_of(config)
    rows = np.stack(made("sample", None).read()["activation"].to_numpy())
    table = made("project", "all").read()
    white = np.arange(40) % 10 % 2 == 0
    assert len(np.unique(rows[white], axis=0)) == 1
    places = np.column_stack([table["x"], table["y"]])[white]
    assert np.ptp(places, axis=0).max() <= 1e-5
    folder = tmp_path / "workspace" / "runs" / "small"
    document = json.loads((folder / "1" / "all" / "atlas-3.json").read_text())
    assert (document["layout"]["num_distinct"], document["layout"]["largest_group"]) == (21, 20)
    assert sum(cell["count"] for cell in document["cells"]) <= 40
    assert ">repeated<" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("project", "words"),
    [
        ({"engine": "gpu"}, ("project.engine gpu", "parallel")),
        ({"fit_on": 3}, ("fit_on 3", "num_neighbors 5")),
        ({"fit_on": 30, "method": "tsne"}, ("fit_on", "umap")),
    ],
)
def test_what_cannot_be_laid_out_is_refused_before_work(small, atlas, tmp_path, project, words):
    result = atlas("run", projected(small, **project))
    assert result.exit_code == 2
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert all(word in error for word in words)
    assert not (tmp_path / "workspace" / "cache").exists()
