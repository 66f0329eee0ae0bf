import numpy as np
import pytest

from atlas_pipeline.pictures.highlight_figure import EDGE, GROUND, cell_px, highlight_figure, ticks_text
from atlas_pipeline.pictures.vocabulary_figure import Strip, share_text, vocabulary_figure


def _highlight(opacity, strongest=0.5, **change):
    """Draw two cells side by side on a grid of 2, with black icons of 10 px."""
    what = {
        "grid_size": 2,
        "icon_px": 480,
        "scale": "full",
        "title": "What speaks for a cat",
        "subtitle": "in words",
        "strongest": strongest,
    }
    icons = np.zeros((2, 10, 10, 3), np.uint8)
    return highlight_figure(icons, [0, 0], [0, 1], [3, 3], opacity, **{**what, **change})


def test_icons_are_faded_and_what_says_nothing_is_an_empty_frame():
    picture = _highlight([0.25, 0.0])
    assert picture.shape[1] == 960
    assert picture[240, 240].tolist() == [round(0.75 * GROUND)] * 3
    assert picture[240, 720].tolist() == [GROUND] * 3
    assert picture[0, 720].tolist() == picture[240, 959].tolist() == [EDGE] * 3
    assert picture[720, 240].tolist() == [255] * 3


def test_the_strip_has_a_scale_only_where_something_is_lit():
    lit, dark = _highlight([1.0, 0.0]), _highlight([0.0, 0.0], strongest=0.0)
    # Ink right of the centre: the icons of the scale.
    right = np.s_[1000:, 600:]
    assert (lit[right] < 100).any()
    assert (dark[right] > 200).all()
    assert (dark[1000:, :480] < 100).any()


@pytest.mark.parametrize(
    ("grid", "icon", "side"), [(20, 64, 64), (20, 32, 64), (3, 16, 320), (160, 80, 50), (9000, 80, 1)]
)
def test_cells_are_whole_multiples_of_an_icon_until_they_are_too_many(grid, icon, side):
    assert cell_px(grid, icon) == side


def test_the_numbers_of_a_scale_have_two_digits_of_the_largest():
    assert ticks_text([0.0, 0.0153, 0.0612]) == ["0", "0.015", "0.061"]
    assert ticks_text([0.0, -6.2, -12.4]) == ["0", "-6", "-12"]
    assert ticks_text([0.0, 3.2e-9]) == ["0", "3.2e-09"]
    assert ticks_text([0.0, 0.0]) == ["0", "0"]


def test_shares_that_round_to_nothing_or_all_are_not_called_that():
    assert [share_text(share) for share in (0.0, 0.004, 0.124, 0.996, 1.0)] == [
        "0 %",
        "< 1 %",
        "12 %",
        "> 99 %",
        "100 %",
    ]


def test_a_vocabulary_has_a_bar_of_the_share_below_each_icon():
    icons = np.zeros((10, 8, 8, 3), np.uint8)
    shares = [0.5, *[0.01] * 9]
    picture = vocabulary_figure(
        "Cat", "words", [Strip(title="a", subtitle="", icons=icons, shares=shares)], 96
    )
    tile = picture[:, 16 : 16 + 96]
    bottom = int(np.flatnonzero((tile == 0).all(axis=(1, 2)))[-1])
    bar = tile[bottom + 1 + 6]
    assert ((bar < 100).all(axis=1)).sum() == 48
    assert ((bar > 220) & (bar < 240)).all(axis=1).sum() == 48


def test_a_layer_without_a_word_keeps_its_heading():
    empty = Strip(title="mixed4", subtitle="nothing", icons=np.zeros((0, 1, 1, 3), np.uint8), shares=())
    one = vocabulary_figure("Cat", "words", [empty])
    two = vocabulary_figure("Cat", "words", [empty, empty])
    assert one.shape[1] == two.shape[1] == 900
    below = two[len(one) :]
    assert (below < 100).any()
