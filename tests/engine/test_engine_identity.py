"""Fingerprints of steps and digests of values."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import toy_stages

from atlas_pipeline.engine import Step
from atlas_pipeline.engine.fingerprint import canonical_json, fingerprint, ordered
from atlas_pipeline.engine.values import values_digest

CONFIG = {"a": 1, "b": 0.5, "c": "x", "d": None, "e": True, "f": [1, 2], "g": {"h": 1, "i": [{"j": 2}]}}
CHANGES = [
    {"a": 2},
    {"a": 1.0},
    {"b": 0.25},
    {"c": "y"},
    {"d": 0},
    {"e": False},
    {"e": 1},
    {"f": [2, 1]},
    {"f": []},
    {"g": {"h": 2, "i": [{"j": 2}]}},
    {"g": {"h": 1, "i": [{"j": 3}]}},
    {"z": None},
]


def of(config=CONFIG, inputs=None, stage=toy_stages.BIN):
    return fingerprint(stage, config, inputs or {"one": "11", "other": "22"})


def test_is_the_same_for_the_same():
    assert of() == of(dict(reversed(CONFIG.items())))
    assert of() == of({**CONFIG, "f": (1, 2)})
    assert len(of()) == 16


def test_is_pinned():
    """The value changes only with SCHEME, since every existing cache depends on it."""
    assert of() == "9a89f70ceb4ae666"


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_value_changes_it(change):
    assert of({**CONFIG, **change}) != of()


def test_a_key_less_changes_it():
    assert len({of({k: v for k, v in CONFIG.items() if k != gone}) for gone in CONFIG} | {of()}) == 8


def test_inputs_that_swap_roles_change_it():
    assert of(inputs={"one": "22", "other": "11"}) != of()


def test_stage_and_version_change_it():
    newer = toy_stages.stage_of("bin", toy_stages.one_task, toy_stages.bin_task, version=2)
    assert len({of(stage=newer), of(stage=toy_stages.SAMPLE), of()}) == 3


@pytest.mark.parametrize(
    "value",
    [np.float32(1), float("nan"), float("inf"), {1: 2}, object(), b"x", {1, 2}],
    ids=lambda value: type(value).__name__,
)
def test_only_plain_values(value):
    with pytest.raises(TypeError, match=r"cannot fingerprint config\.deep\[0\]"):
        canonical_json({"deep": [value]})


def test_ordered_lists_inputs_first_and_each_recipe_once():
    steps = toy_stages.steps(layers=("a",))
    again = toy_stages.steps(layers=("a",))
    found = ordered([steps[4], *again])
    assert [step.stage.name for step in found] == ["list", "sample", "project", "bin", "bin"]
    # Equal recipes become one step object, as inputs too.
    assert found[4].inputs["layout"] is found[3].inputs["layout"] is found[2]


TABLE = pa.table(
    {
        "number": pa.array([1, 2, None, 4, 5, 6], pa.int32()),
        "half": pa.array(np.arange(6, dtype="f2")),
        "flag": [True, None, False, True, True, False],
        "text": ["a", "", None, "bcd", "é", "f"],
        "raw": pa.array([b"", b"1", b"22", None, b"4", b"5"]),
        "list": [[1.0], [], None, [2.0, 3.0], [4.0], [None]],
        "fixed": pa.array([[1, 2], [3, 4], None, [5, 6], [7, 8], [9, 0]], pa.list_(pa.int16(), 2)),
        "struct": [{"x": 1, "y": "a"}, {"x": 2, "y": None}, None, {"x": 4, "y": "d"}, {"x": 5}, {"y": "f"}],
        "kind": pa.array(["u", "v", "u", "v", None, "u"]).dictionary_encode(),
        "none": pa.nulls(6),
    }
)


@pytest.mark.parametrize("cuts", [[3], [1, 2, 3, 4, 5], [0, 6], [2, 2, 5]], ids=str)
def test_a_values_digest_does_not_see_cuts(cuts):
    edges = [0, *cuts, 6]
    pieces = [TABLE.slice(start, stop - start) for start, stop in pairwise(edges)]
    assert values_digest(pieces) == values_digest([TABLE])
    assert values_digest([pa.concat_tables(pieces)]) == values_digest([TABLE])


def test_a_values_digest_sees_every_row_of_every_column():
    digests = {values_digest([TABLE])}
    for name in TABLE.column_names[:-1]:
        place = TABLE.column_names.index(name)
        for row in range(6):
            values = TABLE[name].to_pylist()
            values[row] = values[0] if values[0] != values[row] else values[1]
            column = pa.array(values, TABLE[name].type)
            digests.add(values_digest([TABLE.set_column(place, name, column)]))
    # Each edit gives a row the value of row 0, or that of row 1 where it already equals row 0.
    assert len(digests) == 1 + 9 * 6


def test_a_values_digest_sees_names_order_and_borders_of_text():
    def digest(**columns):
        return values_digest([pa.table(columns)])

    assert digest(a=[1]) != digest(b=[1])
    assert digest(a=[1, 2]) != digest(a=[2, 1])
    assert digest(a=["ab", "c"]) != digest(a=["a", "bc"])
    assert digest(a=[None, 0]) != digest(a=[0, None])
    assert digest(a=[1], b=[2]) != digest(a=[2], b=[1])


def test_a_values_digest_ignores_what_lies_under_a_null():
    mask = np.array([False, True])
    one, other = (pa.array(np.array([1, hidden]), mask=mask) for hidden in (5, 6))
    assert values_digest([pa.table({"a": one})]) == values_digest([pa.table({"a": other})])


def test_steps_are_compared_by_identity():
    assert Step(stage=toy_stages.LIST, config={}) != Step(stage=toy_stages.LIST, config={})
