"""Highlights and vocabularies: figures of one class, made from existing cells and icons."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atlas_pipeline.tables.columns import column_matrix

LATE = "4"
CLASSES = ["ant", "bee", "cat", "dog", "emu"]


@pytest.fixture
def done(small, finished) -> dict:
    """A finished run of a network in which no activation has a positive attribution to an emu."""
    network = Path(small["model"]["name"].removesuffix(":build"))
    text = network.read_text().replace("return nn.Sequential(", "network = nn.Sequential(")
    # Activations are never negative, so negative weights give no positive attribution.
    last = "nn.Linear(12, 5),\n    )"
    assert last in text
    network.write_text(
        text.replace(last, f"{last}\n    network[-1].weight.data[4] = -1.0\n    return network")
    )
    return finished(small)


def _folder(config: dict) -> Path:
    return Path(config["run"]["workspace"]) / "runs" / config["name"]


def _bin(config: dict):
    (part,) = Path(config["run"]["workspace"]).glob("cache/bin/*/part-*.parquet")
    return pq.read_table(part)


def _lines(result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def test_a_highlight_makes_no_icon_and_says_what_the_cells_say(done, atlas, states):
    icons = {
        path: path.stat().st_mtime_ns for path in Path(done["run"]["workspace"]).glob("cache/invert/*/*")
    }
    lines = _lines(atlas("highlight", done, "--class", "Cat"))
    assert "1 task run" in lines[0]
    png = _folder(done) / LATE / "all" / "highlight-cat-3.png"
    assert Path(lines[-1]) == png
    assert {path: path.stat().st_mtime_ns for path in icons} == icons
    assert not [step for step in states(done) if step.startswith("highlight")]

    document = json.loads(png.with_suffix(".json").read_bytes())
    cells = _bin(done)
    attribution = column_matrix(cells, "attribution")[:, CLASSES.index("cat")]
    assert (document["class"], document["class_index"], document["sign"]) == ("cat", 2, "positive")
    assert [c["attribution"] for c in document["cells"]] == [float(str(a)) for a in attribution]
    assert [(c["row"], c["col"]) for c in document["cells"]] == list(
        zip(cells["row"].to_pylist(), cells["col"].to_pylist(), strict=True)
    )
    amount = np.maximum(attribution, 0)
    np.testing.assert_allclose([c["opacity"] for c in document["cells"]], amount / amount.max(), rtol=1e-6)
    assert document["strongest_attribution"] == float(str(attribution.max()))
    assert document["provenance"]["inputs"]["invert"]["fingerprint"]

    assert "0 tasks run" in _lines(atlas("highlight", done, "--class", "class 2"))[0]


def test_the_picture_shows_icons_by_opacity_and_an_empty_frame_for_the_rest(done, atlas):
    _lines(atlas("highlight", done, "--class", "cat"))
    base = _folder(done) / LATE / "all"
    document = json.loads((base / "highlight-cat-3.json").read_bytes())
    picture = np.asarray(Image.open(base / "highlight-cat-3.png"))
    side = picture.shape[1] // 3
    for cell in document["cells"]:
        top, left = cell["row"] * side, cell["col"] * side
        middle = picture[
            top + side // 2 - 4 : top + side // 2 + 4, left + side // 2 - 4 : left + side // 2 + 4
        ]
        if cell["opacity"] == 0:
            assert (middle == 246).all()
        elif cell["opacity"] > 0.5:
            assert (middle != 246).any()
    assert any(cell["opacity"] == 0 for cell in document["cells"])


def test_the_other_sign_and_a_layer_of_choice(done, atlas, states):
    two = {**done, "layers": ["1", LATE]}
    _lines(atlas("run", two, "--quiet"))
    lines = _lines(atlas("highlight", two, "--class", "2", "--layer", LATE, "--sign", "-"))
    assert [Path(line).name for line in lines[1:]] == ["highlight-cat-negative-3.png"]
    document = json.loads((_folder(two) / LATE / "all" / "highlight-cat-negative-3.json").read_bytes())
    attribution = np.array([cell["attribution"] for cell in document["cells"]])
    assert document["strongest_attribution"] == attribution.min() < 0
    opacity = np.array([cell["opacity"] for cell in document["cells"]])
    np.testing.assert_allclose(opacity, np.maximum(-attribution, 0) / -attribution.min(), rtol=1e-6)


def test_what_a_command_made_stays_when_the_run_is_run_again(done, atlas):
    _lines(atlas("highlight", done, "--class", "cat"))
    _lines(atlas("vocabulary", done, "--class", "cat"))
    atlas("run", done)
    assert (_folder(done) / LATE / "all" / "highlight-cat-3.png").is_file()
    assert (_folder(done) / "vocabulary" / "vocabulary-cat.json").is_file()


def test_the_config_lists_figures_too(done, atlas, states):
    config = {
        **done,
        "highlights": [{"class": "cat"}, {"class": "cat", "sign": "negative"}],
        "vocabularies": [{"class": "cat", "num_cells": 1}],
    }
    missing = {step for step, state in states(config).items() if state != "done"}
    assert missing == {f"highlight {LATE} all 3", "vocabulary class-cat"}
    assert "2 tasks run" in _lines(atlas("highlight", config))[0]
    assert "1 task run" in _lines(atlas("vocabulary", config))[0]
    assert set(states(config).values()) == {"done"}
    document = json.loads((_folder(config) / "vocabulary" / "vocabulary-cat.json").read_bytes())
    assert len(document["cells"]) == 1


def test_a_vocabulary_is_of_the_cells_that_carry_the_attribution(done, atlas):
    lines = _lines(atlas("vocabulary", done, "--class", "cat"))
    png = _folder(done) / "vocabulary" / "vocabulary-cat.png"
    assert Path(lines[-1]) == png
    assert Image.open(png).width >= 900
    document = json.loads(png.with_suffix(".json").read_bytes())
    cells = _bin(done)
    total = np.maximum(column_matrix(cells, "attribution")[:, 2].astype(float), 0) * cells["count"].to_numpy()
    share = dict(
        zip(
            zip(cells["row"].to_pylist(), cells["col"].to_pylist(), strict=True),
            total / total.sum(),
            strict=True,
        )
    )
    first = document["cells"][0]
    assert {cell["layer"] for cell in document["cells"]} == {LATE}
    for cell in document["cells"]:
        np.testing.assert_allclose(cell["cell_share"], share[cell["row"], cell["col"]], rtol=1e-5)
        assert cell["cell_share"] <= cell["share"] <= first["share"]
    np.testing.assert_allclose(
        document["layers"][0]["share_shown"], sum(cell["share"] for cell in document["cells"])
    )


def test_a_class_that_nothing_speaks_for_is_told(done, atlas):
    lines = _lines(atlas("highlight", done, "--class", "emu"))
    reason = "no cell's mean attribution to emu is above 0"
    assert lines[0] == f"{LATE}, grid 3: the highlight is empty, because {reason}"
    text = (_folder(done) / LATE / "all" / "highlight-emu-3.json").read_text()
    assert "NaN" not in text
    document = json.loads(text)
    assert document["strongest_attribution"] == 0
    assert {cell["opacity"] for cell in document["cells"]} == {0}

    lines = _lines(atlas("vocabulary", done, "--class", "emu"))
    assert lines[0] == f"vocabulary of emu: no cell speaks for it in {LATE}"
    document = json.loads((_folder(done) / "vocabulary" / "vocabulary-emu.json").read_bytes())
    assert document["cells"] == []
    assert document["layers"] == [{"layer": LATE, "grid": 3, "num_regions": 0, "share_shown": 0}]


@pytest.mark.parametrize("command", ["highlight", "vocabulary"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--class", "caat"], ("'caat'", "'cat'")),
        (["--class", "cat", "--layer", "44"], ("'44'", "nearest: '4'")),
        ([], ("lists none", "--class")),
        (["--layer", LATE], ("--class",)),
    ],
)
def test_bad_input_is_one_line(done, atlas, command, arguments, words):
    result = atlas(command, done, *arguments)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]


def test_a_class_asked_for_twice_is_refused(done, atlas):
    result = atlas("run", {**done, "vocabularies": [{"class": "cat"}, {"class": "2"}]})
    assert result.exit_code == 2
    assert "vocabularies: cat is asked for 2 times" in result.stderr


def test_pictures_of_random_weights_say_so(small, atlas):
    small["model"]["weights"] = "random"
    for command, name in (
        ("highlight", f"{LATE}/all/highlight-cat-3"),
        ("vocabulary", "vocabulary/vocabulary-cat"),
    ):
        _lines(atlas(command, small, "--class", "cat"))
        path = _folder(small) / f"{name}.png"
        picture = Image.open(io.BytesIO(path.read_bytes()))
        assert "RANDOM WEIGHTS" in picture.text["Weights"]
        assert np.asarray(picture)[-2, 0].tolist() == [176, 24, 32]
        assert json.loads(path.with_suffix(".json").read_bytes())["provenance"]["random_weights"]


def test_a_class_is_named_in_letters_of_any_kind(small, atlas):
    network = Path(small["model"]["name"].removesuffix(":build"))
    network.write_text(network.read_text().replace('"bee"', '"\N{HONEYBEE}"'), encoding="utf-8")
    lines = _lines(atlas("highlight", small, "--class", "\N{HONEYBEE}", "--layer", LATE))
    assert json.loads(Path(lines[-1]).with_suffix(".json").read_text())["class"] == "\N{HONEYBEE}"
