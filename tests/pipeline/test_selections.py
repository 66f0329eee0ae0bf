"""Selections of a small whole run, compared with a plain pandas reading of its Parquet shards."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline import engine
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.views import ViewGridConfig
from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.stages.atlas import select
from atlas_pipeline.stages.sampling import index, sample
from atlas_pipeline.tables import population as population_module
from atlas_pipeline.tables.population import ActivationBlocks, population
from atlas_pipeline.views.class_names import all_classes, resolved_class
from atlas_pipeline.views.view import ClassPopulation, ComparisonPopulation, View, ViewLayout

LATE = "4"
TOP = 7


LAYOUT = ViewLayout(method="tsne", perplexity=30.0, num_neighbors=20, min_dist=0.02)


def class_view(number: int, kind: str = "both", sign: str = "positive", top: int | None = TOP) -> View:
    population = ClassPopulation(index=number, label="", filter=kind, sign=sign, top=top)
    return View(
        name=f"class-{number}", kind="class", title="", population=population, layers=(LATE,), layout=LAYOUT,
        grid=ViewGridConfig(),
    )  # fmt: skip


def comparison_view(left: int, right: int) -> View:
    population = ComparisonPopulation(indices=(left, right), labels=("", ""), top=TOP)
    return View(
        name="compare", kind="comparison", title="", population=population, layers=(LATE,), layout=LAYOUT,
        grid=ViewGridConfig(),
    )  # fmt: skip


class Run:
    """A sampled run and its selections."""

    def __init__(self, config: dict):
        self.config = parse_config(config)
        self.store = engine.Store(Path(self.config.run.workspace))
        images = index.step(self.config)
        self.sample = sample.steps(self.config, images)[LATE]
        engine.run([images, self.sample], self.store)

    def select(self, *views: View) -> list[StoredArtefact]:
        steps = [select.step(view, self.sample) for view in views]
        self.report = engine.run([*steps], self.store, only={"select"})
        return [engine.artefact_of(step, self.store) for step in steps]

    @property
    def sampled(self) -> StoredArtefact:
        return engine.artefact_of(self.sample, self.store)

    def frame(self) -> pd.DataFrame:
        """The shards as any user can read them: image_id, and one attribution column per class."""
        parts = sorted(self.sampled.folder.glob("*.parquet"))
        table = pd.concat([pq.read_table(part).to_pandas() for part in parts], ignore_index=True)
        attribution = pd.DataFrame(np.stack(table["attribution"]).astype(np.float32))
        return attribution.assign(image_id=table["image_id"])


@pytest.fixture
def ran(small) -> Run:
    return Run({**small, "sample": {**small["sample"], "positions_per_image": 2}})


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_class_selections_are_what_pandas_reads(ran, sign):
    frame = ran.frame()
    values = frame[range(5)] if sign == "positive" else -frame[range(5)]
    ranked = values.idxmax(axis=1).where(values.max(axis=1) > 0)
    num_selected = 0
    for number in range(5):
        own = values[number]
        rank = set(frame.index[ranked == number])
        magnitude = set(own[own > 0].sort_values(ascending=False, kind="stable").index[:TOP])
        expected = {"rank": rank, "magnitude": magnitude, "both": rank | magnitude}
        views = [class_view(number, kind, sign) for kind in expected]
        for rows, artefact in zip(expected.values(), ran.select(*views), strict=True):
            table = artefact.read().to_pandas()
            assert table["sample_row"].tolist() == sorted(rows)
            assert table["image_id"].tolist() == frame["image_id"][sorted(rows)].tolist()
            assert table["value"].tolist() == frame[number][sorted(rows)].tolist()
            assert artefact.notes == {"num_selected": len(rows), "of": len(frame)}
            num_selected += len(rows)
    assert num_selected > 0


def test_a_comparison_is_what_pandas_reads(ran):
    frame = ran.frame()
    (artefact,) = ran.select(comparison_view(3, 1))
    tops = [frame[c][frame[c] > 0].sort_values(ascending=False, kind="stable").index[:TOP] for c in (3, 1)]
    rows = sorted(set(tops[0]) | set(tops[1]))
    table = artefact.read().to_pandas()
    assert table["sample_row"].tolist() == rows
    assert table["value"].tolist() == (frame[1] - frame[3])[rows].tolist()
    assert artefact.notes["scale"] == pytest.approx(np.percentile(np.abs(table["value"]), 99))


def test_one_pass_over_the_attributions_serves_all_that_is_missing(ran, monkeypatch):
    read: list[tuple[str, ...]] = []
    real = StoredArtefact.parts

    def counted(self, columns=None):
        if self.stage == "sample":
            read.append(tuple(columns or ()))
        return real(self, columns)

    monkeypatch.setattr(StoredArtefact, "parts", counted)
    views = [class_view(number) for number in range(5)]
    ran.select(*views, class_view(2, "rank", "negative"), comparison_view(0, 1), comparison_view(1, 0))
    assert read == [("image_id", "attribution")]
    ran.select(*views)
    assert ran.report.tasks_run == 0
    ran.select(*views, comparison_view(3, 4))
    assert (ran.report.tasks_run, len(read)) == (1, 2)


def test_shards_of_another_size_give_the_same_selections(small, ran, tmp_path):
    other = Run(
        {
            **small,
            "sample": {"shard_size": 7, "positions_per_image": 2},
            "run": {**small["run"], "workspace": str(tmp_path / "other")},
        }
    )
    views = [*(class_view(number) for number in range(5)), comparison_view(0, 4)]
    for one, two in zip(ran.select(*views), other.select(*views), strict=True):
        assert one.read().equals(two.read())


def test_classes_of_a_list_are_found_by_their_logit(small):
    ran = Run({**small, "sample": {"shard_size": 25, "attribution": ["dog", "ant"]}})
    frame = ran.frame()  # column 0: dog, column 1: ant
    (ant,) = ran.select(class_view(0, "magnitude"))
    assert ant.read()["value"].to_pylist() == frame[1][ant.read()["sample_row"].to_pylist()].tolist()
    assert ant.num_rows
    assert all_classes(ran.config) == [(0, "ant"), (3, "dog")]
    assert resolved_class(ran.config, "Dog") == (3, "dog")
    with pytest.raises(ConfigError, match=r"'cat' has no attributions.*sample.attribution.*runs again"):
        resolved_class(ran.config, "cat")
    with pytest.raises(ConfigError, match=r"no attributions to class 2.*atlas sample CONFIG --force"):
        ran.select(class_view(2))


def test_a_class_that_nothing_speaks_for_is_empty_and_the_others_go_on(ran, monkeypatch):
    real = select.column_matrix

    def without_class_1(table, column):
        values = real(table, column).copy()
        values[:, 1] = -1
        return values

    monkeypatch.setattr(select, "column_matrix", without_class_1)
    empty, full = ran.select(class_view(1), class_view(0))
    assert (empty.num_rows, empty.notes["num_selected"]) == (0, 0)
    assert full.num_rows
    step = select.step(class_view(1), ran.sample)
    assert list(step.stage.remarks(step, empty)) == [
        "4, class-1: none of 120 activations has an attribution above 0 to the class; take another layer or "
        "class"
    ]
    chosen = population(ran.sampled, empty)
    assert (chosen.num_rows, chosen.num_parts) == (0, 1)
    assert chosen.read().num_rows == 0
    assert np.concatenate([*ActivationBlocks(chosen)]).shape == (0, 12)


def test_a_population_reads_like_the_chosen_rows_of_the_sample(ran):
    (artefact,) = ran.select(class_view(0))
    chosen = population(ran.sampled, artefact)
    expected = ran.sampled.read().take(artefact.read()["sample_row"].combine_chunks())
    assert 0 < chosen.num_rows < ran.sampled.num_rows
    assert chosen.read().equals(expected)
    assert chosen.schema == ran.sampled.schema
    assert chosen.notes == ran.sampled.notes
    assert [t["image_id"].to_pylist() for t in chosen.parts(["image_id"])] == [
        expected["image_id"].to_pylist()
    ]
    for start in range(chosen.num_rows + 1):
        assert chosen.rows(start, chosen.num_rows, ["row", "activation"]).equals(
            expected.slice(start).select(["row", "activation"])
        )
    np.testing.assert_array_equal(
        np.concatenate([*ActivationBlocks(chosen)]), np.stack(expected["activation"].to_numpy())
    )
    assert population(ran.sampled, None) is not chosen
    assert population(ran.sampled, None).num_rows == ran.sampled.num_rows


class Chosen:
    """A stand-in for a selection: rows of a sample."""

    def __init__(self, *rows: int):
        self.table = pa.table({"sample_row": rows})
        self.num_rows = len(rows)

    def read(self, columns: list[str]) -> pa.Table:
        return self.table.select(columns)


def test_what_lies_between_chosen_rows_is_not_read(ran, monkeypatch):
    monkeypatch.setattr(population_module, "GAP_ROWS", 10)
    monkeypatch.setattr(population_module, "MAX_SPAN_ROWS", 20)
    read = []
    real = StoredArtefact.rows

    def noted(self, start, stop, columns=None):
        read.append((start, stop))
        return real(self, start, stop, columns)

    monkeypatch.setattr(StoredArtefact, "rows", noted)
    chosen = population(ran.sampled, Chosen(3, 5, 16, 18, 19, 21, 40, 59))
    rows = ran.sampled.read(["image_id"])["image_id"].to_numpy()
    found = [part["image_id"].to_pylist() for part in chosen.parts(["image_id"])]
    assert found == [rows[chosen].tolist() for chosen in ([3, 5], [16, 18, 19], [21], [40], [59])]
    assert read == [(3, 6), (16, 20), (21, 22), (40, 41), (59, 60)]
    assert chosen.num_parts == 5
    with pytest.raises(IndexError, match="rows 2 to 9 of 8"):
        chosen.rows(2, 9)
