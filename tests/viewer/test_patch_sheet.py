import csv
import io

import numpy as np
import pytest

from atlas_pipeline.numerics.rates import Rate
from atlas_pipeline.patch_test.result_tables import csv_text, headings, markdown, percent, points, summary_row
from atlas_pipeline.patch_test.sheet_picture import Block, Column, ExampleImage, patch_sheet
from atlas_pipeline.patch_test.summary import KindSummary
from atlas_pipeline.pictures.lettering import WHITE


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def shown(outcome="stays", side=32, seed=0, answer="cat"):
    return ExampleImage(picture=noise(side, seed), answer=answer, probability=0.5, outcome=outcome)


def sheet(outcomes=("stays", "becomes"), side=32, answer="cat", num_columns=2):
    columns = [
        Column(
            heading="icon",
            patch=noise(side, 9),
            share="dog 5 %",
            images=[shown(outcome, side, seed, answer) for seed, outcome in enumerate(outcomes)],
        )
    ] * num_columns
    originals = [shown(side=side, seed=seed) for seed in range(len(outcomes))]
    return patch_sheet("T", "S", originals, [Block(title="cell", columns=columns)], [("becomes", "dog")])


def holds(picture, part):
    """Whether a picture contains an exact copy of another one."""
    rows, cols = np.nonzero((picture[..., :] == part[0, 0]).all(axis=-1))
    high, wide = part.shape[:2]
    return any(
        np.array_equal(picture[r : r + high, c : c + wide], part) for r, c in zip(rows, cols, strict=True)
    )


def test_small_images_are_enlarged_by_whole_numbers():
    enlarged = noise(32, 1).repeat(4, axis=0).repeat(4, axis=1)
    assert holds(sheet(), enlarged)


def test_large_images_are_made_smaller():
    small, large = sheet(side=32), sheet(side=500)
    assert large.shape == small.shape


def test_a_changed_answer_has_a_frame_of_its_colour_and_an_unchanged_one_none():
    colours = {"stays": (108, 108, 116), "becomes": (204, 76, 2), "leaves": (0, 96, 160)}
    counts = {}
    for outcome in colours:
        picture = sheet(outcomes=("stays", outcome))
        counts[outcome] = {name: (picture == c).all(axis=-1).sum() for name, c in colours.items()}
    framed = 2 * 4 * 4 * 128  # columns x sides x width x length
    assert counts["becomes"]["becomes"] - counts["stays"]["becomes"] > framed
    assert counts["leaves"]["leaves"] - counts["stays"]["leaves"] > framed
    assert counts["becomes"]["leaves"] == counts["stays"]["leaves"] == 0


def test_long_names_leave_the_margins_white():
    picture = sheet(answer="a very long name of a class " * 3)
    assert (picture[:, :8] == WHITE).all()
    assert (picture[:, -8:] == WHITE).all()


def test_every_column_needs_an_image_for_each_original():
    column = Column(heading="icon", patch=noise(8), share="", images=[shown()])
    with pytest.raises(ValueError, match="2 images"):
        patch_sheet("T", "S", [shown(), shown()], [Block(title="", columns=[column])], [])


def test_the_summary_in_words():
    rate = Rate(0.37, 0.312, 0.4313)
    summary = KindSummary(
        kind="crop",
        num_patches=2,
        becomes=rate,
        leaves=rate,
        best=rate,
        held_out=rate,
        top=Rate(1, 0.9, 1),
        top_patch=1,
        top_place=0,
        over_noise=None,
    )
    assert percent(rate) == "37.0 % (31.2 to 43.1)"
    assert points(Rate(-0.01, -0.05, 0.03)) == "-1.0 points (-5.0 to +3.0)"
    row = summary_row(summary, ["cell 1, 2", "cell 3, 4"], ["20 %, top left"])
    assert row[:2] == ["dataset crop", "2"]
    assert row[-1] == "100.0 % (90.0 to 100.0): cell 3, 4, 20 %, top left"
    header = headings("cat", "pipe | dream")
    assert len(header) == len(row)
    table = markdown("Title", header, [row], "Caption.").splitlines()
    assert table[0] == "# Title"
    assert table[-1] == "Caption."
    # A bar in a name is escaped and does not end a column.
    assert {line.replace("\\|", "").count("|") for line in table[2:5]} == {len(row) + 1}


def test_csv_comes_back_as_it_was():
    rows = [{"kind": "icon", "pull": 0.5, "name": 'a "b", c'}, {"kind": "random", "pull": None, "name": ""}]
    read = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert read == [
        {"kind": "icon", "pull": "0.5", "name": 'a "b", c'},
        {"kind": "random", "pull": "", "name": ""},
    ]
