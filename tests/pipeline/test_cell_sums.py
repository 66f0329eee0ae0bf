"""Sums over ranges of rows: the cells do not depend on the ranges, and each row is read once."""

import numpy as np
import pytest

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Runtime, Store, artefact_of, run
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.stages.atlas import cell_sums
from atlas_pipeline.tables import population
from atlas_pipeline.tables.columns import column_matrix


def _artefacts(config, stage):
    steps = steps_of(parse_config(config))
    store = Store(config["run"]["workspace"])
    return [artefact_of(step, store) for step in steps if step.stage.name == stage]


@pytest.fixture
def cut_short(monkeypatch):
    """Use small ranges and blocks: 60 rows make four tasks, and blocks straddle the parts of the sample."""
    monkeypatch.setattr(cell_sums, "ROWS_PER_TASK", 17)
    monkeypatch.setattr(population, "_BLOCK_ROWS", 7)


@pytest.mark.parametrize("attribution", ["all", "none"])
def test_however_the_rows_are_cut_the_cells_are_the_same(small, atlas, tmp_path, attribution, request):
    small["sample"]["attribution"] = attribution
    small["grid"] = {"sizes": [2, 3], "min_count": 1}
    assert atlas("bin", small).exit_code == 0
    request.getfixturevalue("cut_short")
    other = {**small, "run": {**small["run"], "workspace": str(tmp_path / "other")}}
    assert atlas("bin", other).exit_code == 0
    assert [sums.num_parts for sums in _artefacts(other, "cell_sums")] == [4, 4]
    for whole, cut in zip(_artefacts(small, "bin"), _artefacts(other, "bin"), strict=True):
        one, two = whole.read(), cut.read()
        assert one.column_names == two.column_names
        for name in one.column_names:
            if name in ("activation", "attribution"):
                mine, theirs = column_matrix(one, name), column_matrix(two, name)
                np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)
            elif name in ("coherence", "nearest"):
                np.testing.assert_allclose(one[name], two[name], rtol=1e-6)
            else:
                assert one[name].equals(two[name]), name


def test_counts_of_every_grid_add_up_to_the_rows(small, atlas, cut_short):
    small["grid"] = {"sizes": [2, 3], "min_count": 1}
    assert atlas("bin", small).exit_code == 0
    for sums in _artefacts(small, "cell_sums"):
        table = sums.read()
        assert sum(table["count"].to_pylist()) == 60
        # An activation without any attribution, behind dead ReLUs, has no top class; every other has one.
        assert 0 < sum(map(sum, table["top_count"].to_pylist())) <= 60


def test_all_grids_share_the_passes(small, atlas, cut_short):
    small["grid"] = {"sizes": [2, 3, 4], "min_count": 1}
    assert atlas("project", small).exit_code == 0
    steps = steps_of(parse_config(small))
    report = run(steps, Store(small["run"]["workspace"]), only={"cell_sums", "bin"}, runtime=Runtime())
    # Four tasks sum the ranges for all three grids; one task of `bin` makes the second pass.
    assert report.tasks_run == 5
