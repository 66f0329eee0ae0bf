import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion import InversionSettings, centre_activation, invert, magnitude_spectrum
from atlas_pipeline.inversion.icons import attempt_seed
from atlas_pipeline.numerics.fidelity import fidelity, fidelity_whitened, metric_root

SEEDS = [11, 12, 13, 14, 15, 16]

# Kernels may round differently by batch size, and the difference grows over the steps. The first tolerance is
# in uint8 levels; the second bounds 1 - cosine between the activations of two versions of an icon.
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


def test_an_icon_without_a_gradient_starts_to_move(settings):
    """The ReLU is zero on a grey image, so there is no gradient and no icon without a new starting point."""
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
    """Channels differ widely in scale; the raw cosine only responds to the large ones."""
    conv = nn.Conv2d(3, 6, 7, padding=3, bias=False).requires_grad_(False)
    nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(0))
    loudness = torch.logspace(0, 2, 6)
    conv.weight.data *= loudness.view(6, 1, 1, 1)
    directions = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)) * loudness
    precision = torch.diag(loudness**-2)
    settings = dataclasses.replace(settings, steps=60)
    whitened = dataclasses.replace(settings, whitening=1.0)

    raw_icons = invert(lambda images: conv(images - 0.5), directions, SEEDS, settings)
    whitened_icons = invert(
        lambda images: conv(images - 0.5), directions, SEEDS, whitened, precision=precision
    )

    def whitened_cosines(icons):
        return fidelity_whitened(icons.activation.numpy(), directions.numpy(), metric_root(precision.numpy()))

    assert np.median(whitened_cosines(whitened_icons)) > np.median(whitened_cosines(raw_icons)) + 0.05


@pytest.mark.parametrize("whitening", [0.0, 0.5])
def test_whitening_and_precision_go_together(feature_map, directions, settings, whitening):
    settings = dataclasses.replace(settings, whitening=whitening)
    precision = None if whitening else torch.eye(24)
    with pytest.raises(ValueError, match=f"whitening is {whitening:g}, precision"):
        invert(feature_map, directions, SEEDS, settings, precision=precision)


def test_other_mistakes_are_named(feature_map, directions, settings):
    with pytest.raises(ValueError, match="6 directions but 2 seeds"):
        invert(feature_map, directions, [1, 2], settings)
    with pytest.raises(ModelError, match="24 channels, the directions 7"):
        invert(feature_map, directions[:, :7], SEEDS, settings)
    with pytest.raises(ValueError, match="batch_size is 0"):
        invert(feature_map, directions, SEEDS, settings, batch_size=0)
    wrong = dataclasses.replace(settings, whitening=1.0)
    with pytest.raises(ValueError, match=r"need \(24, 24\)"):
        invert(feature_map, directions, SEEDS, wrong, precision=torch.eye(3))


def test_default_settings_hold():
    assert InversionSettings().size_px == 80


def test_of_several_attempts_the_most_faithful_is_kept(feature_map, directions, settings):
    settings = dataclasses.replace(settings, steps=6)
    counts: list[int] = []
    best = invert(
        feature_map,
        directions,
        SEEDS,
        dataclasses.replace(settings, attempts=3),
        batch_size=5,
        advance=counts.append,
    )
    each = [
        invert(feature_map, directions, [attempt_seed(seed, attempt) for seed in SEEDS], settings)
        for attempt in range(3)
    ]
    wanted = torch.stack([icons.fidelity for icons in each]).amax(0)
    torch.testing.assert_close(best.fidelity, wanted, atol=TOLERANCE_COSINE, rtol=0)
    assert (best.fidelity > each[0].fidelity + TOLERANCE_COSINE).any()
    assert sum(counts) == 6


def test_fidelity_is_the_cosine_of_the_finished_icon(feature_map, directions, settings):
    icons = invert(feature_map, directions, SEEDS, settings)
    np.testing.assert_allclose(
        icons.fidelity.numpy(), fidelity(icons.activation.numpy(), directions.numpy()), atol=1e-6
    )


def test_a_finished_icon_as_start_is_where_a_warm_icon_begins(feature_map, directions, settings):
    cold = invert(feature_map, directions, SEEDS, settings)
    resting = dataclasses.replace(settings, warm_steps=1, learning_rate=1e-6)
    same = invert(feature_map, directions, SEEDS, resting, start=cold.images)
    # Starting from an image loses the damped highest frequencies, so the activations are not bit-equal.
    assert fidelity(same.activation.numpy(), cold.activation.numpy()).min() > 0.999
    assert same.steps.tolist() == [1] * 6


def test_a_few_warm_steps_do_what_many_cold_ones_do(feature_map, directions, settings):
    settings = dataclasses.replace(settings, steps=48, warm_steps=8)
    cold = invert(feature_map, directions, SEEDS, settings)
    near = directions + 0.1 * directions.roll(1, 0)
    warm = invert(feature_map, near, SEEDS, settings, start=cold.images)
    assert warm.steps.tolist() == [8] * 6
    few = invert(feature_map, near, SEEDS, dataclasses.replace(settings, steps=8))
    assert warm.fidelity.median() > few.fidelity.median()
    assert warm.fidelity.median() > invert(feature_map, near, SEEDS, settings).fidelity.median() - 0.01


def test_a_start_of_another_size_or_without_warm_steps_is_refused(feature_map, directions, settings):
    with pytest.raises(ValueError, match=r"these icons need uint8 of \(6, 16, 16, 3\)"):
        invert(feature_map, directions, SEEDS, settings, start=torch.zeros(6, 8, 8, 3, dtype=torch.uint8))
    cold = dataclasses.replace(settings, warm_steps=None)
    with pytest.raises(ValueError, match="warm_steps is null"):
        invert(feature_map, directions, SEEDS, cold, start=torch.zeros(6, 16, 16, 3, dtype=torch.uint8))


def test_with_patience_an_icon_stops_and_its_company_does_not_matter(feature_map, directions, settings):
    settings = dataclasses.replace(settings, steps=300, patience=3)
    whole = invert(feature_map, directions, SEEDS, settings)
    assert whole.steps.min() < 300
    assert len(set(whole.steps.tolist())) > 1
    # Three places for six icons: a place is refilled as soon as its icon finishes.
    few = invert(feature_map, directions, SEEDS, settings, batch_size=3)
    assert_same_icons(whole, few)
    assert (whole.steps - few.steps).abs().max() <= 4
    patient = invert(feature_map, directions, SEEDS, dataclasses.replace(settings, patience=None))
    assert patient.steps.tolist() == [300] * 6
    assert whole.fidelity.median() > patient.fidelity.median() - 0.01


def test_maco_keeps_the_magnitudes_of_real_images(feature_map, directions, settings):
    settings = dataclasses.replace(settings, image="maco", steps=48, contrast=1.0)
    real = (torch.rand(32, 16, 16, 3, generator=torch.Generator().manual_seed(4)) * 255).to(torch.uint8)
    magnitude = magnitude_spectrum(real, settings)
    icons = invert(feature_map, directions, SEEDS, settings, magnitude=magnitude)
    free = invert(feature_map, directions, SEEDS, dataclasses.replace(settings, image="fourier"))
    of_real = magnitude.mean()
    of_icons = magnitude_spectrum(icons.images, settings).mean()
    assert of_icons == pytest.approx(of_real, rel=0.25)
    assert magnitude_spectrum(free.images, settings).mean() != pytest.approx(of_real, rel=0.25)
    assert icons.fidelity.median() > 0.5


@pytest.mark.parametrize("image", ["fourier", "maco"])
def test_maco_and_a_magnitude_go_together(feature_map, directions, settings, image):
    settings = dataclasses.replace(settings, image=image)
    magnitude = torch.ones(3, 24, 13) if image == "fourier" else None
    with pytest.raises(ValueError, match=f"image is '{image}'"):
        invert(feature_map, directions, SEEDS, settings, magnitude=magnitude)


def test_transparency_leaves_clear_what_the_centre_does_not_see(feature_map, directions, settings):
    settings = dataclasses.replace(settings, alpha=1.0, steps=60)
    icons = invert(feature_map, directions, SEEDS, settings)
    assert icons.images.shape == (6, 16, 16, 4)
    opacity = icons.images[..., 3].float()
    # The centre position sees a square of 13 px, so the corners have no effect on it.
    assert opacity[:, 6:10, 6:10].mean() > opacity[:, :2, :2].mean() + 20
    noise = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    of_noise = centre_activation(feature_map(noise))
    baseline = torch.nn.functional.cosine_similarity(of_noise[:, None], directions[None], dim=-1).median()
    assert icons.fidelity.median() > baseline
    warm = invert(feature_map, directions, SEEDS, settings, start=icons.images)
    assert warm.images.shape == (6, 16, 16, 4)


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_either_part_of_the_objective_can_stand_alone(feature_map, directions, settings, kind):
    settings = dataclasses.replace(settings, steps=60)
    icons = invert(feature_map, directions, SEEDS, dataclasses.replace(settings, objective=kind))
    both = invert(feature_map, directions, SEEDS, settings)
    strength = (icons.activation * directions).sum(1).median()
    if kind == "dot":
        assert strength > (both.activation * directions).sum(1).median()
    else:
        assert icons.fidelity.median() > both.fidelity.median() - 0.02
        assert strength < (both.activation * directions).sum(1).median()
