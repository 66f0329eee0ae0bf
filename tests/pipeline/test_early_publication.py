"""A run's folder shows what is ready while the run goes on, and is whole in the end."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.publish.early import EarlyPublication
from atlas_pipeline.publish.run_record import PUBLISHED
from atlas_pipeline.runs import commands
from atlas_pipeline.stages.atlas.stitch import STITCH
from atlas_pipeline.stages.atlas.whiten import WHITEN


@pytest.fixture
def watched(monkeypatch):
    """(names of the stages that ended, files of the run's folder, line for the user) for each call."""
    seen = []

    class Watching(EarlyPublication):
        @staticmethod
        def files():
            """Replaced by a test."""
            return ()

        def __call__(self, ended):
            self._not_before = 0.0
            line = super().__call__(ended)
            seen.append(({step.stage.name for step in ended}, set(Watching.files()), line))
            return line

    monkeypatch.setattr(commands, "EarlyPublication", Watching)
    return seen, Watching


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_each_atlas_is_there_when_it_is_stitched_and_the_page_before(small, atlas, watched, tmp_path):
    seen, watching = watched
    folder = tmp_path / "workspace" / "runs" / "small"
    watching.files = lambda: files_of(folder)
    small["layers"] = ["1", "4"]
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    first_page = next(n for n, (_, files, _) in enumerate(seen) if "index.html" in files)
    first_atlas = next(n for n, (_, files, _) in enumerate(seen) if "1/all/atlas-3.png" in files)
    second_atlas = next(n for n, (_, files, _) in enumerate(seen) if "4/all/atlas-3.png" in files)
    assert first_page < first_atlas < second_atlas < len(seen)
    # It appears with the step that makes it.
    assert "places" in seen[first_page][0]
    assert "stitch" in seen[first_atlas][0]
    assert "stitch" in seen[second_atlas][0]
    assert [line for _, _, line in seen if line] == [
        f"to watch the run, open {folder / 'index.html'}, and reload it as layers and icons are finished"
    ]
    assert f"to watch the run, open {folder / 'index.html'}" in result.stderr
    # The end says what to do next.
    *_, view, figure = result.stderr.splitlines()
    assert view.startswith("next: atlas view ")
    assert figure.strip().startswith("atlas figure ")
    assert figure.endswith(" --layer 4")
    # Nothing remains to be done, and nothing is left of earlier states.
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "0 tasks run" in atlas("run", small).stdout
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert "unfinished" not in json.loads((folder / PUBLISHED).read_text())


def test_a_folder_of_other_values_stays_whole_until_the_end(small, finished, atlas, watched, tmp_path):
    finished(small)
    _, watching = watched
    folder = Path(small["run"]["workspace"]) / "runs" / "small"
    picture = folder / "4" / "all" / "atlas-3.json"
    before = picture.read_bytes()
    states = []
    watching.files = lambda: states.append(picture.read_bytes()) or ()
    small["grid"]["min_count"] = 3
    assert atlas("run", small).exit_code == 0
    assert len(states) > 3
    assert set(states) == {before}
    assert picture.read_bytes() != before


def test_a_layer_more_is_shown_early(small, finished, atlas, watched, monkeypatch):
    # No pause: a slow machine's run may end within it.
    monkeypatch.setattr("atlas_pipeline.publish.early._SHARE", 1e9)
    finished(small)
    seen, watching = watched
    folder = Path(small["run"]["workspace"]) / "runs" / "small"
    watching.files = lambda: files_of(folder)
    small["layers"] = ["4", "1"]
    assert atlas("run", small).exit_code == 0
    assert any("stitch" in ended and "1/all/atlas-3.png" in files for ended, files, _ in seen)


def test_a_layer_more_is_shown_early_though_the_images_were_copied(
    small, atlas, watched, monkeypatch, tmp_path
):
    monkeypatch.setattr("atlas_pipeline.publish.early._SHARE", 1e9)
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / f"photos/{number}.png")
    small["images"] = {"source": "folder", "path": str(tmp_path / "photos")}
    assert atlas("run", small).exit_code == 0
    for photo in (tmp_path / "photos").iterdir():
        os.utime(photo, ns=(1, 1))
    seen, watching = watched
    folder = tmp_path / "workspace" / "runs" / "small"
    watching.files = lambda: files_of(folder)
    small["layers"] = ["4", "1"]
    assert atlas("run", small).exit_code == 0
    assert any("index" in ended for ended, _, _ in seen)
    assert any("stitch" in ended and "1/all/atlas-3.png" in files for ended, files, _ in seen)


def test_a_grid_more_is_shown_early_and_earlier_names_until_the_new_ones_are_there(
    small, finished, atlas, watched, monkeypatch, store_of
):
    monkeypatch.setattr("atlas_pipeline.publish.early._SHARE", 1e9)
    small["layers"] = ["1", "4"]
    finished(small)
    _, watching = watched
    folder = Path(small["run"]["workspace"]) / "runs" / "small"
    names, whole = "4/all/names.js", "whole_images/images.js"
    states = []

    def look():
        listed = (folder / "viewer" / "run.js").read_text()
        states.append(
            {
                "files": files_of(folder),
                names: (folder / names).read_bytes(),
                whole: (folder / whole).read_bytes(),
                "artefacts": set(json.loads((folder / PUBLISHED).read_text())["artefacts"]),
                "grids": listed.count('"size":6'),
            }
        )
        return ()

    look()
    before, old = states.pop(), store_of(small)("names", "all", "4").fingerprint
    watching.files = look
    small["grid"]["sizes"] = [3, 6]
    assert atlas("run", small).exit_code == 0
    new = store_of(small)("names", "all", "4").fingerprint
    assert new != old
    # The first layer's new grid is shown while the second layer's is not there yet.
    assert any(state["grids"] == 1 for state in states)
    # The folder always has names: those of the artefact that its record lists, and never both.
    look()
    after = states[-1]
    for state in states:
        assert {names, whole} <= state["files"]
        assert len({old, new} & state["artefacts"]) == 1
        assert state[names] == (before if old in state["artefacts"] else after)[names]
        assert state[whole] in (before[whole], after[whole])
    assert states[0][names] == before[names]
    assert "6" in {path.name.removeprefix("tiles-") for path in (folder / "4" / "all").glob("tiles-*")}


def test_earlier_artefacts_of_other_inputs_are_not_shown(small, finished, store_of):
    from atlas_pipeline.config.loading import parse_config
    from atlas_pipeline.engine import Store, artefacts_of
    from atlas_pipeline.publish.lagging import earlier_artefacts
    from atlas_pipeline.runs.pipeline_file import steps_of

    finished(small)
    old = store_of(small)("names", "all").fingerprint

    def earlier(**changes):
        config = parse_config({**small, **changes})
        store, steps = Store(config.run.workspace), steps_of(config)
        found = earlier_artefacts(steps, artefacts_of(steps, store), {old}, store)
        return found and [artefact.fingerprint for artefact in found.values()]

    assert earlier(grid={"sizes": [3, 6], "min_count": 2}) == [old]
    # Other cells, another layout, and a grid that is gone.
    assert earlier(grid={"sizes": [3, 6], "min_count": 3}) is None
    assert earlier(project={**small["project"], "min_dist": 0.3}) is None
    assert earlier(grid={"sizes": [6], "min_count": 2}) is None


class Ended:
    def __init__(self, stage):
        self.stage = stage


def test_publishing_takes_a_tenth_of_the_time_at_most(monkeypatch):
    from atlas_pipeline.publish import early

    now, published = [100.0], []
    monkeypatch.setattr(early.time, "monotonic", lambda: now[0])

    def publish():
        published.append(now[0])
        now[0] += 2
        return Path("index.html")

    publication = EarlyPublication(publish)
    assert publication([]) is None
    assert publication([Ended(WHITEN)]) is None  # it has no files
    assert published == []
    assert "index.html" in publication([Ended(STITCH)])
    now[0] = 121.9
    assert publication([Ended(STITCH)]) is None
    assert published == [100.0]
    now[0] = 122.1
    # Steps that ended meanwhile are not forgotten, and the page is announced once.
    assert publication([]) is None
    assert published == [100.0, 122.1]
    now[0] = 200.0
    assert publication([]) is None
    assert published == [100.0, 122.1]


def test_a_folder_that_cannot_be_written_does_not_end_the_run(monkeypatch):
    from atlas_pipeline.errors import ResourceError

    def publish():
        raise ResourceError("the disk is full")

    assert EarlyPublication(publish)([Ended(STITCH)]) is None
