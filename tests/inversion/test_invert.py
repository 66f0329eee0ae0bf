import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from atlas_pipeline.errors import ModelError, ResourceError
from atlas_pipeline.inversion import InversionSettings, centre_activation, invert
from atlas_pipeline.numerics.fidelity import fidelity, fidelity_whitened

SEEDS = [11, 12, 13, 14, 15, 16]

# Rounding in the network's kernels may differ by batch size; steps let it grow. In uint8 levels, and
# as the cosine between what the two versions of an icon give.
TOLERANCE_LEVELS = 2
TOLERANCE_COSINE = 1e-3


def assert_same_icons(one, other):
    assert (one.images.int() - other.images.int()).abs().max() <= TOLERANCE_LEVELS
    assert fidelity(one.activation.numpy(), other.activation.numpy()).min() > 1 - TOLERANCE_COSINE


def taken(icons, which):
    fields = dataclasses.fields(icons)
    return type(icons)(*(getattr(icons, field.name)[which] for field in fields))


def test_icons_give_their_directions_better_than_noise_does(feature_map, directions, settings):
    icons = invert(feature_map, directions, SEEDS, settings)
    noise = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    of_noise = centre_activation(feature_map(noise)).numpy()
    baseline = np.median([fidelity(of_noise, np.tile(v, (64, 1))) for v in directions.numpy()])
    reached = fidelity(icons.activation.numpy(), directions.numpy())
    assert np.median(reached) > baseline + 0.5 * (1 - baseline)


def test_activation_is_what_the_finished_uint8_icon_gives(feature_map, directions, settings):
    icons = invert(feature_map, directions, SEEDS, settings)
    assert icons.images.dtype == torch.uint8
    assert icons.images.shape == (6, 16, 16, 3)
    images = icons.images.permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(icons.activation, centre_activation(feature_map(images)), atol=1e-5, rtol=1e-5)
    assert icons.steps.tolist() == [24] * 6
    assert icons.objective.shape == (6,)


def test_batch_size_order_and_company_do_not_change_an_icon(feature_map, directions, settings):
    whole = invert(feature_map, directions, SEEDS, settings)
    assert_same_icons(whole, invert(feature_map, directions, SEEDS, settings, batch_size=1))
    assert_same_icons(whole, invert(feature_map, directions, SEEDS, settings, batch_size=4))
    backwards = invert(feature_map, directions.flip(0), SEEDS[::-1], settings, batch_size=5)
    assert_same_icons(whole, taken(backwards, range(5, -1, -1)))
    assert_same_icons(taken(whole, [3]), invert(feature_map, directions[3:4], SEEDS[3:4], settings))


def test_the_same_seed_gives_the_same_icon_and_another_another(feature_map, directions, settings):
    two = directions[:1].expand(3, -1)
    icons = invert(feature_map, two, [5, 5, 6], settings)
    assert_same_icons(taken(icons, [0]), taken(icons, [1]))
    assert (icons.images[0].int() - icons.images[2].int()).abs().float().mean() > 3
    again = invert(feature_map, two, [5, 5, 6], settings)
    assert torch.equal(icons.images, again.images)


def test_the_global_generator_is_left_alone(feature_map, directions, settings):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    invert(feature_map, directions, SEEDS, settings)
    assert torch.equal(before, torch.random.get_rng_state())


def test_progress_counts_every_icon_once(feature_map, directions, settings):
    counts: list[int] = []
    invert(feature_map, directions, SEEDS, settings, batch_size=4, advance=counts.append)
    assert counts == [4, 2]


def test_no_directions_no_icons(feature_map, settings):
    icons = invert(feature_map, torch.empty(0, 24), [], settings)
    assert icons.images.shape == (0, 16, 16, 3)
    assert icons.activation.shape == (0, 24)


def test_out_of_memory_halves_the_batch_and_loses_nothing(feature_map, directions, settings):
    sizes: list[int] = []

    def small_memory(images):
        sizes.append(len(images))
        # The second batch meets less memory than the first did.
        if len(images) > (3 if len(sizes) <= 30 else 1):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return feature_map(images)

    counts: list[int] = []
    icons = invert(small_memory, directions, SEEDS, settings, advance=counts.append)
    # The first call, of one image, asks for the map's size only.
    batches = [size for size in sizes if size > 1]
    assert batches[:2] == [6, 3]
    assert counts == [3, 1, 1, 1]
    assert_same_icons(icons, invert(feature_map, directions, SEEDS, settings))


def test_memory_for_not_even_one_icon_is_said(directions, settings):
    def no_memory(images):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ResourceError, match="one icon of 16 px does not fit"):
        invert(no_memory, directions, SEEDS, settings)


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, "direction 2 is zero"), (float("nan"), "direction 2 is not finite")]
)
def test_a_direction_that_points_nowhere_is_named(feature_map, directions, settings, value, message):
    bad = directions.clone()
    bad[2] = value
    with pytest.raises(ValueError, match=message):
        invert(feature_map, bad, SEEDS, settings)


def test_a_network_that_gives_nan_is_no_icon(feature_map, directions, settings):
    def poisoned(images):
        maps = feature_map(images)
        return torch.where(torch.arange(len(images)).view(-1, 1, 1, 1) == 4, torch.nan, maps)

    with pytest.raises(ModelError, match="direction 4 gives activations that are not finite"):
        invert(poisoned, directions, SEEDS, settings)


def test_a_dead_start_wakes_up(settings):
    """A ReLU that a grey image does not pass: no gradient, and no icon, without a push."""
    conv = nn.Conv2d(3, 8, 5, padding=2)
    nn.init.normal_(conv.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    nn.init.constant_(conv.bias, -1.2)
    network = nn.Sequential(conv, nn.ReLU()).requires_grad_(False)

    def of_grey(images):
        return network(images - 0.5)

    directions = torch.eye(8)[:3] + 0.2
    settings = dataclasses.replace(settings, steps=60)
    start = invert(of_grey, directions, [1, 2, 3], dataclasses.replace(settings, steps=1))
    assert (start.activation == 0).all()
    icons = invert(of_grey, directions, [1, 2, 3], settings)
    assert (fidelity(icons.activation.numpy(), directions.numpy()) > 0.1).all()


def test_a_map_of_one_position_works(feature_map, directions, settings):
    icons = invert(lambda images: feature_map(images).mean((2, 3), keepdim=True), directions, SEEDS, settings)
    assert torch.isfinite(icons.activation).all()


def test_whitened_metric_raises_the_whitened_cosine(settings):
    """Channels of very different strength: the raw cosine hears the loud ones alone."""
    conv = nn.Conv2d(3, 6, 7, padding=3, bias=False).requires_grad_(False)
    nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(0))
    loudness = torch.logspace(0, 2, 6)
    conv.weight.data *= loudness.view(6, 1, 1, 1)
    directions = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)) * loudness
    precision = torch.diag(loudness**-2)
    settings = dataclasses.replace(settings, steps=60)
    whitened = dataclasses.replace(settings, metric="whitened")

    raw_icons = invert(lambda images: conv(images - 0.5), directions, SEEDS, settings)
    whitened_icons = invert(
        lambda images: conv(images - 0.5), directions, SEEDS, whitened, precision=precision
    )

    def whitened_cosines(icons):
        return fidelity_whitened(icons.activation.numpy(), directions.numpy(), precision.numpy())

    assert np.median(whitened_cosines(whitened_icons)) > np.median(whitened_cosines(raw_icons)) + 0.05


@pytest.mark.parametrize("metric", ["raw", "whitened"])
def test_metric_and_precision_go_together(feature_map, directions, settings, metric):
    settings = dataclasses.replace(settings, metric=metric)
    precision = torch.eye(24) if metric == "raw" else None
    with pytest.raises(ValueError, match=f"metric is '{metric}'"):
        invert(feature_map, directions, SEEDS, settings, precision=precision)


def test_other_mistakes_are_named(feature_map, directions, settings):
    with pytest.raises(ValueError, match="6 directions but 2 seeds"):
        invert(feature_map, directions, [1, 2], settings)
    with pytest.raises(ModelError, match="24 channels, the directions 7"):
        invert(feature_map, directions[:, :7], SEEDS, settings)
    with pytest.raises(ValueError, match="batch_size is 0"):
        invert(feature_map, directions, SEEDS, settings, batch_size=0)
    wrong = dataclasses.replace(settings, metric="whitened")
    with pytest.raises(ValueError, match=r"need \(24, 24\)"):
        invert(feature_map, directions, SEEDS, wrong, precision=torch.eye(3))


def test_default_settings_hold():
    assert InversionSettings().size_px == 80
