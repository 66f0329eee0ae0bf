"""Icons of a finer grid start from the finished icons of the coarser grid listed before it."""

import copy

import numpy as np
import pytest

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.numerics.fidelity import nearest
from atlas_pipeline.pictures.png_codec import pixels
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables.columns import column_matrix


@pytest.fixture
def pyramid(small, finished) -> dict:
    """A finished run with two grids, whose icons alone are made anew when `invert` changes."""
    small["grid"] = {"sizes": [2, 4], "min_count": 2}
    small["invert"] |= {"steps": 6, "warm_steps": 2}
    return finished(small)


def artefacts(config: dict, stage: str) -> dict:
    model = Config.model_validate(config)
    store = Store(model.run.workspace)
    return {step.grid: artefact_of(step, store) for step in steps_of(model) if step.stage.name == stage}


def test_only_the_coarsest_grid_starts_cold(pyramid):
    icons = artefacts(pyramid, "invert")
    assert set(icons[2].read()["steps"].to_pylist()) == {6}
    assert set(icons[4].read()["steps"].to_pylist()) == {2}


def test_an_icon_starts_from_the_coarse_cell_nearest_in_direction(pyramid, atlas):
    """At a learning rate near zero, an icon stays at its starting point."""
    pyramid["invert"] |= {"learning_rate": 1e-7, "start_sd": 0.2}
    assert atlas("run", pyramid).exit_code == 0
    cells, icons = artefacts(pyramid, "bin"), artefacts(pyramid, "invert")
    means = {grid: column_matrix(of_grid.read(), "activation") for grid, of_grid in cells.items()}
    coarse, fine = (pixels(icons[grid].read()["icon"]).astype(int) for grid in (2, 4))
    wanted = coarse[nearest(means[4], means[2])]
    assert np.abs(fine - wanted).mean() < 2
    assert np.abs(fine - coarse[:1]).mean() > 4 or len(coarse) == 1


def test_without_warm_steps_every_grid_starts_cold(pyramid, atlas):
    pyramid["invert"]["warm_steps"] = None
    assert atlas("run", pyramid).exit_code == 0
    assert set(artefacts(pyramid, "invert")[4].read()["steps"].to_pylist()) == {6}


def test_a_grid_added_at_the_end_and_other_warm_steps_leave_cold_icons_alone(pyramid, atlas, states):
    alone = copy.deepcopy(pyramid)
    alone["grid"]["sizes"] = [4]
    assert atlas("run", alone).exit_code == 0
    for sizes in ([4, 2], [4, 8]):
        alone["grid"]["sizes"] = sizes
        assert states(alone)["invert 4 all 4"] == "done"
    alone["grid"]["sizes"] = [4]
    alone["invert"]["warm_steps"] = 3
    assert states(alone)["invert 4 all 4"] == "done"


@pytest.mark.parametrize(
    "invert", [{"image": "maco"}, {"alpha": 1.0}, {"attempts": 2}, {"objective": "cosine"}, {"patience": 1}]
)
def test_every_kind_of_icon_goes_through_the_whole_pipeline(pyramid, atlas, invert):
    pyramid["invert"] |= invert
    result = atlas("run", pyramid)
    assert result.exit_code == 0, result.stderr
    for of_grid in artefacts(pyramid, "invert").values():
        table = of_grid.read()
        assert np.isfinite(table["fidelity"].to_numpy()).all()
        assert np.isfinite(table["spectrum_distance"].to_numpy()).all()
        assert pixels(table["icon"]).shape[-1] == (4 if "alpha" in invert else 3)
