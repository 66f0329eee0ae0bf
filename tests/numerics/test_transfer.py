"""Ranks of a picture's own cell among all cells, by the features of a second network."""

import numpy as np
import pytest

from atlas_pipeline.numerics.transfer import derangement, own_cell_ranks

RNG = np.random.default_rng(0)
CELLS = RNG.standard_normal((30, 8)) + 5


def oracle(feature, own_feature, own):
    centre = CELLS.mean(axis=0)

    def cosine(a):
        a, b = a - centre, feature - centre
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    return sum(cosine(cell) >= cosine(own_feature) for k, cell in enumerate(CELLS) if k != own)


def test_ranks_are_counted_one_by_one():
    features = CELLS + RNG.standard_normal(CELLS.shape)
    expected = [oracle(feature, CELLS[k], k) for k, feature in enumerate(features)]
    assert own_cell_ranks(features, CELLS).tolist() == expected
    assert max(expected) > 0


def test_a_held_out_patch_is_not_in_its_own_cells_mean():
    features, rest = CELLS + RNG.standard_normal(CELLS.shape), CELLS + RNG.standard_normal(CELLS.shape)
    expected = [oracle(feature, rest[k], k) for k, feature in enumerate(features)]
    assert own_cell_ranks(features, CELLS, own_features=rest).tolist() == expected


def test_what_all_cells_share_tells_none_apart():
    features = CELLS + RNG.standard_normal(CELLS.shape)
    shift = 100 * np.ones(8)
    assert (
        own_cell_ranks(features + shift, CELLS + shift).tolist() == own_cell_ranks(features, CELLS).tolist()
    )


def test_ties_count_against_the_picture():
    cells = np.concatenate([CELLS, CELLS[:1]])
    assert own_cell_ranks(CELLS[:1], cells).tolist() == [1]


def test_no_cells_have_no_ranks():
    assert own_cell_ranks(np.empty((0, 4)), np.empty((0, 4))).tolist() == []


@pytest.mark.parametrize("num", [2, 3, 50])
def test_a_derangement_moves_every_item(num):
    moved = derangement(num, np.random.default_rng(3))
    assert sorted(moved) == list(range(num))
    assert (moved != np.arange(num)).all()
    assert moved.tolist() == derangement(num, np.random.default_rng(3)).tolist()


def test_features_that_are_no_numbers_have_no_rank():
    with pytest.raises(ValueError, match="finite"):
        own_cell_ranks(np.full((1, 8), np.nan), CELLS)
