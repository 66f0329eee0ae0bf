"""Dreams: tiles cover the picture, memory is that of a tile, and the picture shows more of what it should."""

import itertools

import pytest
import torch
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion import InversionSettings
from atlas_pipeline.inversion.dream import Caricature, DreamSettings, LayerSquares, dream, octave_sizes
from atlas_pipeline.inversion.tiles import add_tile, axis_tiles, tile_of, tiles

HERE = torch.device("cpu")


def how(**changed):
    return DreamSettings(
        **{
            "octaves": 2,
            "octave_scale": 1.5,
            "tile_px": 64,
            "own_px": 16,
            "inversion": InversionSettings(steps=6, learning_rate=0.05),
            **changed,
        }
    )


@pytest.fixture(scope="module")
def photo():
    generator = torch.Generator().manual_seed(4)
    small = torch.rand(1, 3, 6, 8, generator=generator)
    large = nn.functional.interpolate(small, (30, 41), mode="bicubic").clamp(0.1, 0.9)
    return (large[0].permute(1, 2, 0) * 255).round().to(torch.uint8)


class Watched(nn.Module):
    """A feature map that remembers the sizes of the images it was given."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, images):
        self.seen.append(tuple(images.shape[2:]))
        return self.inner(images)


def test_a_dream_drives_the_layer_and_repeats_to_the_bit(feature_map):
    goal = LayerSquares(feature_map)
    made, again, other = (dream(goal, (40, 52), seed, how()) for seed in (3, 3, 4))
    assert made.image.shape == (40, 52, 3)
    assert made.image.dtype == torch.uint8
    assert 0 < 2 * made.before < made.after
    assert torch.equal(made.image, again.image)
    assert not torch.equal(made.image, other.image)


def test_the_score_is_that_of_the_finished_picture(feature_map):
    # One tile that shows the picture and its reflection: the score can be computed by hand.
    made = dream(LayerSquares(feature_map), (32, 32), 1, how(octaves=1))
    rows = torch.arange(-16, 48).abs()
    rows = torch.where(rows < 32, rows, 62 - rows)
    seen = made.image[rows][:, rows].permute(2, 0, 1)[None] / 255
    # The image is rounded to 8 bits.
    assert feature_map(seen).square().mean().item() == pytest.approx(made.after, rel=0.02)


def test_a_dream_of_a_picture_stays_near_it(feature_map, photo):
    goal = LayerSquares(feature_map)
    few = how(inversion=InversionSettings(steps=2, learning_rate=1e-6))
    still = dream(goal, (30, 41), 0, few, picture=photo, from_picture=True)
    assert (still.image.int() - photo.int()).abs().max() <= 1
    moved = dream(goal, (30, 41), 0, how(), picture=photo, from_picture=True)
    noise = dream(goal, (30, 41), 0, how())

    def distance(made):
        return (made.image.float() - photo.float()).abs().mean()

    assert moved.after > 1.2 * moved.before
    assert 2 < distance(moved) < 0.8 * distance(noise)


def test_a_caricature_begins_with_noise_and_comes_to_resemble_the_picture(feature_map, photo):
    made = dream(Caricature(feature_map), (30, 41), 0, how(), picture=photo)
    other = dream(Caricature(feature_map), (30, 41), 0, how(), picture=255 - photo)
    assert made.after > made.before + 0.3

    def cosine(image):
        maps = [feature_map(p.permute(2, 0, 1)[None] / 255) for p in (image, photo)]
        return nn.functional.cosine_similarity(*maps).mean()

    assert cosine(made.image) > cosine(other.image) + 0.05


def test_the_score_of_a_caricature_weighs_the_dot_by_the_cosine():
    picture = torch.tensor([[3.0, 0.0], [0.0, 1.0]]).T.view(1, 2, 1, 2)
    twice = Caricature(nn.Identity(), 1.0).score(2 * picture, picture)
    assert twice.item() == pytest.approx(2.0)
    # At the first position h = (4, 3), v = (3, 0): dot 12, cosine 0.8; at the second it is 0.
    maps = torch.tensor([[4.0, 3.0], [5.0, 0.0]]).T.view(1, 2, 1, 2)
    for power in (0.0, 1.0, 2.0):
        found = Caricature(nn.Identity(), power).score(maps, picture)
        assert found.item() == pytest.approx(12 * 0.8**power / 10)


def test_the_network_never_sees_more_than_a_tile(feature_map):
    watched = Watched(feature_map)
    dream(LayerSquares(watched), (150, 40), 0, how(octaves=1))
    assert max(max(size) for size in watched.seen) == 64
    # Three tiles down: the picture and a quarter of a tile.
    assert axis_tiles(150, 64, 16).num == 3


def test_tiles_of_a_network_of_one_size_have_that_size(feature_map):
    watched = Watched(feature_map)
    dream(LayerSquares(watched), (40, 70), 0, how(tile_px=32, own_px=32))
    assert set(watched.seen) == {(32, 32)}


@pytest.mark.parametrize("size_px", [(1, 7), (33, 64), (64, 65), (150, 40), (31, 200)])
@pytest.mark.parametrize("draw", [0.0, 0.37, 0.999])
def test_tiles_cover_every_pixel_and_their_gradient_is_the_picture_s(size_px, draw):
    pixels = torch.rand(1, 3, *size_px, requires_grad=True)
    seen = torch.zeros(size_px)
    gradient, total = torch.zeros(1, 3, *size_px), torch.zeros(())
    for rows, cols in tiles(size_px, 64, 16, (draw, 0.999 - draw), HERE):
        seen[rows[:, None], cols[None, :]] += 1
        tile = tile_of(pixels.detach(), rows, cols).requires_grad_()
        weights = torch.rand(tile.shape)
        (of_tile,) = torch.autograd.grad((tile * weights).sum(), tile)
        add_tile(gradient, of_tile, rows, cols)
        total = total + (tile_of(pixels, rows, cols) * weights).sum()
    assert seen.min() >= 1
    torch.testing.assert_close(gradient, torch.autograd.grad(total, pixels)[0])


def test_seams_move_from_step_to_step():
    axis = axis_tiles(150, 64, 16)
    firsts = {int(axis.rows(draw / 50, HERE)[1][0]) for draw in range(50)}
    assert max(firsts) - min(firsts) >= 64 // 4


def test_no_octave_is_larger_than_the_picture_or_comes_twice():
    sizes = octave_sizes((40, 20), 9, 1.5)
    assert sizes[-1] == (40, 20)
    assert len(set(sizes)) == len(sizes)
    assert all(a <= b for one, next_ in itertools.pairwise(sizes) for a, b in zip(one, next_, strict=True))


def test_a_missing_picture_is_refused(feature_map):
    for goal, from_picture in ((Caricature(feature_map), False), (LayerSquares(feature_map), True)):
        with pytest.raises(ValueError, match="picture is missing"):
            dream(goal, (32, 32), 0, how(), from_picture=from_picture)


def test_a_layer_that_nothing_changes_is_refused():
    dead = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
    dead[0].bias.fill_(-100.0)
    with pytest.raises(ModelError, match="nothing to dream of"):
        dream(LayerSquares(dead), (32, 32), 0, how())


def test_activations_that_are_not_finite_are_refused():
    broken = nn.Conv2d(3, 4, 3).requires_grad_(False)
    broken.bias.fill_(torch.nan)
    with pytest.raises(ModelError, match="not finite"):
        dream(LayerSquares(broken), (32, 32), 0, how())
