"""Finished artefacts are read whole, by part and by row range."""

import numpy as np
import pyarrow as pa
import pytest
import toy_stages

from atlas_pipeline.engine import Output, Step, artefact_of, run
from atlas_pipeline.errors import CorruptArtefactError

SIZES = (3, 0, 10, 1)


def split_sizes(job):
    return [{"part": part, "size": size} for part, size in enumerate(SIZES)]


def make_part(task, jobs, runtime):
    start = sum(SIZES[: task["part"]])
    ids = np.arange(start, start + task["size"])
    kind = "f4" if task["part"] == 2 else "f2"
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(ids, 2).astype(kind)), 2)
    return [Output(table=pa.table({"id": ids, "activation": lists}))]


PARTS = toy_stages.stage_of("parts", split_sizes, make_part)


@pytest.fixture
def artefact(bench):
    step = Step(stage=PARTS, config={})
    run([step], bench.store)
    return artefact_of(step, bench.store)


def test_reads_all_rows_in_order(artefact):
    assert artefact.read()["id"].to_pylist() == list(range(14))
    assert (artefact.num_rows, artefact.num_parts) == (14, 4)


def test_streams_parts(artefact):
    assert [part.num_rows for part in artefact.parts(["id"])] == list(SIZES)


def test_every_row_range_equals_a_slice(artefact):
    whole = artefact.read()
    for start in range(15):
        for stop in range(start, 15):
            assert artefact.rows(start, stop).equals(whole.slice(start, stop - start)), (start, stop)


def test_row_ranges_within_and_over_row_groups(bench, monkeypatch):
    monkeypatch.setattr("atlas_pipeline.engine.part.ROW_GROUP_ROWS", 4)
    step = Step(stage=PARTS, config={})
    run([step], bench.store)
    artefact = artefact_of(step, bench.store)
    for start in range(14):
        for stop in range(start + 1, 15):
            assert artefact.rows(start, stop, ["id"])["id"].to_pylist() == list(range(start, stop))


def test_a_row_range_opens_only_the_parts_it_needs(artefact):
    artefact.schema  # noqa: B018 - opens one part of each kind, once
    (artefact.folder / "part-00002.parquet").unlink()
    assert artefact.rows(0, 3)["id"].to_pylist() == [0, 1, 2]
    assert artefact.rows(13, 14)["id"].to_pylist() == [13]
    with pytest.raises(CorruptArtefactError, match=r"part-00002\.parquet is damaged"):
        artefact.rows(2, 4)


def test_parts_of_different_precision_read_as_the_wider(artefact):
    """A shard whose activations overflow float16 is stored as float32."""
    wide = pa.list_(pa.float32(), 2)
    assert artefact.schema.field("activation").type == wide
    assert all(part.schema.field("activation").type == wide for part in artefact.parts())
    assert artefact.rows(0, 2)["activation"].to_pylist() == [[0, 0], [1, 1]]


def test_chosen_columns_in_the_order_asked_for(artefact):
    assert artefact.read(["activation", "id"]).column_names == ["activation", "id"]


def test_an_unknown_column_is_an_error(artefact):
    with pytest.raises(KeyError, match="has no column"):
        artefact.read(["iid"])


@pytest.mark.parametrize("rows", [(-1, 2), (3, 2), (0, 15)], ids=str)
def test_rows_outside_are_an_error(artefact, rows):
    with pytest.raises(IndexError):
        artefact.rows(*rows)
