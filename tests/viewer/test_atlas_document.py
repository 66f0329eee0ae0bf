import copy
import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from atlas_pipeline.document.atlas_json import (
    atlas_head,
    atlas_json,
    baselines,
    document_json,
    document_numbers,
)
from atlas_pipeline.document.cell_objects import Cells, cell_objects
from atlas_pipeline.document.schema_check import atlas_schema, document_problems

NUM_CELLS = 4


def cells(**changes):
    rng = np.random.default_rng(0)
    columns = {
        "row": np.array([0, 0, 1, 3], np.int16),
        "col": np.array([0, 2, 1, 3], np.int16),
        "count": np.array([10, 12, 40, 11], np.int32),
        "attribution": rng.normal(size=(NUM_CELLS, 7)).astype(np.float32),
        "examples": [
            [{"image_id": np.int64(n), "row": np.int16(1), "col": 2, "key": f"a/{n}.jpg"}] for n in range(4)
        ],
    }
    measures = {
        "coherence": np.float32([0.8, 0.7, 0.9, 0.6]),
        "fidelity": np.float32([0.95, 0.91, np.nan, 0.97]),
        "fidelity_centred": np.float32([0.7, 0.6, 0.5, 0.4]),
        "fidelity_whitened": np.float32([0.6, 0.5, 0.4, 0.3]),
        "round_trip": np.array([0, 3, 1, 0], np.int32),
        "saturated": np.float32([0.01, 0.02, 0.0, 0.5]),
        "consistency": np.float32([0.5, 1, 0.25, 0]),
        "nearest": np.float32([0.9, 0.8, np.nan, 0.94]),
        "noise": np.float32([0.3, 0.2, 0.5, 0.6]),
    }
    for name in measures.keys() & changes.keys():
        measures[name] = changes.pop(name)
    known = {name: values for name, values in measures.items() if values is not None}
    return Cells(**{**columns, **changes}, measures=known)


REAL_CROPS = {"saturated": 0.05, "spectrum_distance": np.float64(0.9), "colour_distance": 1.1}


def document(
    labels=("a", "b", "c", "d", "e", "f", "g"),
    class_indices=None,
    random_weights=False,
    real_crops=REAL_CROPS,
    selection=None,
    **changes,
):
    columns = cells(**changes)
    head = atlas_head(
        model="demo",
        weights="RANDOM WEIGHTS (seed 0)" if random_weights else "trained: demo.safetensors",
        random_weights=random_weights,
        layer="mixed4",
        view="all",
        grid=4,
        icon_px=64,
        icon_shift_px=0,
        num_activations=100,
        layout={"trustworthiness": np.float64(0.93)},
        provenance={
            "fingerprint": "abc",
            "made": 1754403780.123,
            "config": {"seed": np.int64(0), "sizes": (20, 40)},
        },
        baselines=baselines(NUM_CELLS, columns.measures, real_crops),
        selection=selection,
    )
    return {**head, "cells": cell_objects(columns, labels, class_indices)}


def test_the_schema_is_a_schema_and_the_document_follows_it():
    Draft202012Validator.check_schema(atlas_schema())
    assert document_problems(document()) == []
    assert document_problems(document(labels=None, attribution=None, saturated=None)) == []
    assert document_problems(document(real_crops=None, consistency=None, nearest=None, noise=None)) == []
    assert document_problems(document(selection={"filter": "both", "top": np.int64(3000)})) == []


def test_the_json_comes_back_as_the_document_with_a_cell_a_line():
    made = document()
    text = atlas_json(made)
    assert json.loads(text) == made
    assert sum(line.startswith(b'{"row"') for line in text.splitlines()) == NUM_CELLS


def test_written_in_blocks_it_is_the_same():
    made = document()
    head = {key: value for key, value in made.items() if key != "cells"}
    for blocks in ([made["cells"][:1], [], made["cells"][1:]], [[cell] for cell in made["cells"]]):
        assert b"".join(document_json(head, blocks)) == atlas_json(made)
    assert json.loads(b"".join(document_json(head, []))) == {**made, "cells": []}


def test_read_without_what_is_long_it_has_the_same_numbers():
    made = document(selection={"cells": ["\n{", '"cells":[']})
    numbers = document_numbers(atlas_json(made).splitlines(keepends=True))
    for cell in made["cells"]:
        del cell["classes"], cell["examples"]
    assert numbers == made


def test_columns_become_cells_in_order():
    made = document()
    first, third = made["cells"][0], made["cells"][2]
    assert (first["row"], first["col"], first["count"], first["round_trip"]) == (0, 0, 10, 0)
    assert first["fidelity"] == pytest.approx(0.95)
    assert third["fidelity"] is None
    assert third["examples"] == [{"image_id": 2, "row": 1, "col": 2, "key": "a/2.jpg"}]


def test_baselines_are_medians_chance_and_what_real_crops_have():
    made = document()
    assert made["baselines"] == {
        "saturated": 0.05,
        "spectrum_distance": 0.9,
        "colour_distance": 1.1,
        "fidelity_noise": 0.4,
        "fidelity_nearest": 0.9,
        "round_trip": 1 / NUM_CELLS,
    }
    assert [cell["consistency"] for cell in made["cells"]] == [0.5, 1, 0.25, 0]
    assert [cell["nearest"] for cell in made["cells"]] == [0.9, 0.8, None, 0.94]
    assert document(real_crops=None, nearest=None, noise=None)["baselines"] == {"round_trip": 0.25}
    assert document(noise=np.full(NUM_CELLS, np.nan))["baselines"]["fidelity_noise"] is None


def test_a_selection_says_how_it_was_chosen():
    assert "selection" not in document()
    assert document(selection={"top": np.int64(9)})["selection"] == {"top": 9}


def test_the_five_strongest_classes_come_first():
    made = document()
    attribution = np.asarray(cells().attribution)
    for row, cell in zip(attribution, made["cells"], strict=True):
        best = sorted(range(7), key=lambda c: -row[c])[:5]
        assert [c["index"] for c in cell["classes"]] == best
        assert [c["label"] for c in cell["classes"]] == ["abcdefg"[c] for c in best]
        assert cell["classes"][0]["attribution"] == pytest.approx(row.max(), rel=1e-5)


def test_classes_of_a_chosen_few_keep_their_own_indices():
    made = document(class_indices=[6, 2], attribution=np.array([[1.0, 2.0]] * NUM_CELLS))
    assert [(c["index"], c["label"]) for c in made["cells"][0]["classes"]] == [(2, "c"), (6, "g")]
    with pytest.raises(ValueError, match="3 class indices for 2 columns"):
        document(class_indices=[0, 1, 2], attribution=np.ones((NUM_CELLS, 2)))


def test_no_labels_no_names_and_nan_is_no_class():
    attribution = np.array([[1.0, np.nan, 3.0]] * NUM_CELLS)
    classes = document(labels=None, attribution=attribution)["cells"][0]["classes"]
    assert classes == [
        {"index": 2, "label": None, "attribution": 3.0},
        {"index": 0, "label": None, "attribution": 1.0},
    ]


def test_random_weights_stand_in_the_document():
    made = document(random_weights=True)
    assert made["provenance"]["weights"] == "RANDOM WEIGHTS (seed 0)"
    assert made["provenance"]["random_weights"] is True


def test_provenance_is_kept_digit_by_digit():
    assert document()["provenance"]["made"] == 1754403780.123


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        document(coherence=[0.5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("layer"), "'layer' is a required property"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d.update(schema="activation-atlas/2"), "$.schema"),
        (lambda d: d["cells"][1].update(count=0), "$.cells[1].count"),
        (lambda d: d["cells"][1].update(fidelity=1.5), "$.cells[1].fidelity"),
        (lambda d: d["cells"][1].update(consistency=1.5), "$.cells[1].consistency"),
        (lambda d: d["baselines"].update(noise=0.5), "'noise' was unexpected"),
        (lambda d: d["cells"][1]["classes"][0].pop("label"), "'label' is a required property"),
        (lambda d: d["provenance"].pop("random_weights"), "'random_weights' is a required property"),
        (lambda d: d["cells"][1].update(row=4), "cell (4, 2) lies outside the grid"),
        (lambda d: d["cells"][1].update(col=0), "given twice"),
        (lambda d: d["cells"][1].update(count=60), "more than the 100 activations"),
        (lambda d: d["cells"][1].update(round_trip=4), "beyond the 4 cells"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    broken = copy.deepcopy(document())
    change(broken)
    problems = document_problems(broken)
    assert len(problems) == 1
    assert words in problems[0]


def test_a_document_that_is_no_mapping_is_a_problem_and_not_a_crash():
    assert document_problems([]) != []
    assert document_problems(None) != []
