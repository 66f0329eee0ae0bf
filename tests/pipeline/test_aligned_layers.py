"""Aligned layouts of several layers, from the config to the page."""

import json
import os

import numpy as np
import pytest
from PIL import Image

EARLY, LATE = "1", "4"


@pytest.fixture
def aligned(small):
    small["layers"] = [EARLY, LATE]
    small["project"] |= {"align": True, "align_regularisation": 1.0, "num_epochs": 40}
    return small


def layouts_of(config):
    """layer -> artefact of its layout."""
    from atlas_pipeline.config.loading import parse_config
    from atlas_pipeline.engine import Store, artefact_of
    from atlas_pipeline.runs.pipeline_file import steps_of

    parsed = parse_config(config)
    store = Store(parsed.run.workspace)
    steps = [step for step in steps_of(parsed) if step.stage.name == "project"]
    return {step.layer: artefact_of(step, store) for step in steps}


def places(artefact):
    table = artefact.read()
    return np.column_stack([table["x"], table["y"]])


def test_an_image_lies_near_its_place_in_the_next_layer_and_the_page_says_how_near(aligned, atlas, tmp_path):
    result = atlas("run", aligned)
    assert result.exit_code == 0, result.stderr
    early, late = layouts_of(aligned).values()
    quality = early.notes["quality"]
    apart = np.linalg.norm(places(early) - places(late), axis=1)
    assert quality["alignment"] == pytest.approx(np.median(apart))
    assert quality["alignment"] < 0.5 * quality["alignment_chance"]
    assert 0 <= quality["seed_agreement"] <= 1
    assert "alignment" not in late.notes["quality"]
    folder = tmp_path / "workspace" / "runs" / "small"
    document = json.loads((folder / EARLY / "all" / "atlas-3.json").read_text())
    assert document["layout"]["alignment"] == quality["alignment"]
    assert f"{quality['alignment']:.3f}" in (folder / "report.html").read_text()
    assert "alignment" in result.stdout
    aligned["project"]["align"] = False
    assert "alignment" not in atlas("run", aligned).stdout


def test_all_layers_are_one_task_and_a_lost_one_comes_back_the_same(aligned, atlas, tmp_path):
    # One task each for the index, the check, the aligned layouts and the keys; three for the sample; and for
    # each layer one for its neighbours, its plot and its places.
    assert "13 tasks run" in atlas("project", aligned).stdout
    assert "0 tasks run" in atlas("project", aligned).stdout
    early, late = (artefact.read() for artefact in layouts_of(aligned).values())
    folder = tmp_path / "workspace" / "cache" / "project" / layouts_of(aligned)[LATE].fingerprint
    for path in folder.iterdir():
        path.unlink()
    assert "1 task run" in atlas("project", aligned).stdout
    assert [artefact.read() for artefact in layouts_of(aligned).values()] == [early, late]


def test_what_a_layer_stands_beside_decides_its_layout(aligned, atlas, states):
    assert atlas("project", aligned).exit_code == 0
    aligned["layers"] = [LATE, EARLY]
    assert states(aligned)[f"project {EARLY} all"] == "missing"
    assert states(aligned)[f"neighbors {EARLY} all"] == "done"
    aligned["layers"] = [EARLY, LATE]
    # An aligned layout does not depend on the engine.
    aligned["project"]["engine"] = "parallel"
    assert states(aligned)[f"project {EARLY} all"] == "done"


def test_fitted_on_a_part_the_rest_is_placed(aligned, atlas):
    aligned["project"]["fit_on"] = 30
    assert atlas("project", aligned).exit_code == 0
    early, late = layouts_of(aligned).values()
    assert early.num_rows == late.num_rows == 60
    assert early.notes["quality"]["alignment"] < 0.7 * early.notes["quality"]["alignment_chance"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"project": {"align": True, "method": "tsne"}}, ("align needs UMAP", "method: umap")),
        ({"project": {"align": True, "engine": "gpu"}}, ("align", "engine gpu")),
        ({"project": {"align": True, "engine": "cpu"}}, ("align", "engine cpu")),
        ({"layers": [LATE]}, ("project.align", "several layers", f"'{LATE}' alone")),
        ({"project": {"align": True, "align_window_size": 0}}, ("project.align_window_size",)),
    ],
)
def test_what_cannot_be_aligned_is_refused_before_work(aligned, atlas, tmp_path, change, words):
    result = atlas("run", aligned | change)
    assert result.exit_code == 2
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert all(word in error for word in words), error
    assert not (tmp_path / "workspace" / "cache").exists()


def test_layers_of_different_images_are_refused(aligned, atlas, tmp_path):
    """An image may be readable when one layer is sampled and unreadable when the other is."""
    import pyarrow as pa

    from atlas_pipeline.errors import ImagesError
    from atlas_pipeline.stages.atlas import project

    class Sampled:
        def __init__(self, layer, ids):
            self.config, self.ids = {"layer": layer}, ids

        def read(self, columns):
            return pa.table({"image_id": self.ids})

    with pytest.raises(ImagesError, match="'a' and 'b' were sampled from different images"):
        project._refuse_different_images([Sampled("a", [1, 2, 3]), Sampled("b", [1, 3])])


def test_two_networks_are_aligned_as_one_that_holds_both(aligned, atlas, tmp_path):
    """Each layer's attributions then refer to its own network's logits alone, as docs/align.md says."""
    network = (tmp_path / "network.py").read_text()
    pair = """
class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = build(), build()
        nn.init.constant_(self.after[-1].weight, 0)

    def forward(self, images):
        return self.before(images) + self.after(images)
"""
    (tmp_path / "network.py").write_text(network + pair)
    aligned["model"]["name"] = f"{tmp_path}/network.py:Pair"
    aligned["layers"] = [f"before.{LATE}", f"after.{LATE}"]
    result = atlas("run", aligned)
    assert result.exit_code == 0, result.stderr
    before = layouts_of(aligned)[f"before.{LATE}"]
    # The features of both layers are equal up to rounding.
    assert before.notes["quality"]["alignment"] < 0.02
    cells = {
        layer: json.loads((tmp_path / f"workspace/runs/small/{layer}/all/atlas-3.json").read_text())["cells"]
        for layer in aligned["layers"]
    }
    assert {c["attribution"] for cell in cells[f"after.{LATE}"] for c in cell["classes"]} == {0}
    assert any(c["attribution"] != 0 for cell in cells[f"before.{LATE}"] for c in cell["classes"])


def test_layers_sampled_from_different_images_are_refused_in_one_line(aligned, atlas, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"photos/{number}.png")
    aligned["images"] = {"source": "folder", "path": str(tmp_path / "photos"), "max_bad": 0.5}
    photo = tmp_path / "photos" / "7.png"
    whole, stat = photo.read_bytes(), photo.stat()
    assert atlas("index", aligned).exit_code == 0
    # The photo is unreadable for a while, as on a flaky file system; the index does not change.
    photo.write_bytes(bytes(len(whole)))
    os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert atlas("sample", aligned | {"layers": [EARLY], "project": {}}).exit_code == 0
    photo.write_bytes(whole)
    os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for layers in ([EARLY, LATE], [LATE, EARLY]):
        result = atlas("project", aligned | {"layers": layers})
        assert result.exit_code == 2, result.stderr
        assert "project.align" in result.stderr.splitlines()[-1]
