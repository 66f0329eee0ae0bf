"""Attribution integrated along a path, and the change of the logits when the activation is removed."""

import pytest
import torch
from backward_passes import assert_close, by_backward
from small_networks import num_hooks, small_network
from torch import nn

from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution import attribution, path_points
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.capture import feature_maps, layer_outputs
from atlas_pipeline.models.execution import hooked

POSITIONS = torch.tensor([[1, 1], [2, 0], [3, 3]])


@pytest.fixture
def vit():
    """A vision transformer with a class token in front of its 4 x 4 patches of 8 px."""
    from torchvision.models import VisionTransformer

    with seeded(0):
        module = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=7)
        nn.init.normal_(module.heads.head.weight)
    return small_network(module)


def with_share(network, images, layer, positions, share=0.0):
    """Logits of a full forward pass per image, with ``share`` of the activation at the position."""
    logits = []
    for image, (row, column) in zip(images, positions.tolist(), strict=True):
        runs_left = network.runs[layer].times

        def hook(_, __, output, row=row, column=column):
            nonlocal runs_left
            runs_left -= 1
            if runs_left:
                return None
            output = output.clone()
            network.feature_map(layer, output)[0, :, row, column] *= share
            return output

        with hooked(network.module, {layer: hook}), torch.no_grad():
            logits.append(network.logits(image[None]))
    return torch.cat(logits)


def assert_lost(actual, expected):
    """The tolerance suits differences of logits of about 1, which inherit the logits' float32 rounding."""
    assert 2e-5 < float(expected.abs().amax(dim=1).min()) < 2
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_points_of_a_path():
    assert path_points("gradient", 8) == (1.0,)
    assert path_points("integrated", 1) == (0.5,)
    assert path_points("integrated", 4) == (0.125, 0.375, 0.625, 0.875)


@pytest.mark.parametrize("kind", ["exact", "smooth"])
@pytest.mark.parametrize("layer", ["mixed3", "mixed4.0.branch_pool.0"])
def test_the_mean_of_backward_passes_along_the_path(small_inception, tiny_images, kind, layer):
    path = path_points("integrated", 3)
    by_share = [
        by_backward(small_inception, tiny_images, layer, POSITIONS, kind, range(12), share) for share in path
    ]
    expected = torch.stack(by_share).mean(dim=0)
    assert_close(attribution(small_inception, tiny_images, layer, POSITIONS, kind, path=path), expected)
    h = feature_maps(small_inception, tiny_images, [layer])[layer]
    kept = h.clone()
    by_map = attribution(small_inception, tiny_images, layer, POSITIONS, kind, h, path=path)
    assert_close(by_map, expected)
    assert torch.equal(h, kept)


def test_a_linear_tail_has_the_same_gradient_all_along(in_place, tiny_images):
    """After the last run of `act` only a mean and a linear head follow."""
    gradient = attribution(in_place, tiny_images, "act", POSITIONS)
    integrated = attribution(in_place, tiny_images, "act", POSITIONS, path=path_points("integrated", 5))
    assert_close(integrated, gradient)
    assert_lost(ablation(in_place, tiny_images, "act", POSITIONS), gradient)


def test_many_points_add_up_to_what_ablation_takes_away(small_inception, tiny_images):
    lost = ablation(small_inception, tiny_images, "mixed3", POSITIONS)

    def error(path):
        found = attribution(small_inception, tiny_images, "mixed3", POSITIONS, path=path)
        return float((found - lost).abs().max() / lost.abs().max())

    assert error((1.0,)) > 0.05
    assert error(path_points("integrated", 400)) < 0.002


@pytest.mark.parametrize("layer", ["mixed3", "mixed4.0.branch_pool.0", "mixed5"])
def test_ablation_equals_a_forward_with_zeros(small_inception, tiny_images, layer):
    h = feature_maps(small_inception, tiny_images, [layer])[layer]
    kept = h.clone()
    expected = small_inception.logits(tiny_images) - with_share(
        small_inception, tiny_images, layer, POSITIONS
    )
    assert_lost(ablation(small_inception, tiny_images, layer, POSITIONS), expected)
    assert_lost(ablation(small_inception, tiny_images, layer, POSITIONS, output=h), expected)
    few = ablation(small_inception, tiny_images, layer, POSITIONS, classes=[3, 1])
    assert_lost(few, expected[:, [3, 1]])
    assert torch.equal(h, kept)


@pytest.mark.parametrize("layer", ["conv1", "norm1", "act", "conv2"])
def test_in_place_and_repeated_layers(in_place, tiny_images, layer):
    expected = in_place.logits(tiny_images) - with_share(in_place, tiny_images, layer, POSITIONS)
    assert_lost(ablation(in_place, tiny_images, layer, POSITIONS), expected)
    path = path_points("integrated", 200)
    found = attribution(in_place, tiny_images, layer, POSITIONS, path=path)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max())
    assert num_hooks(in_place.module) == 0


@pytest.mark.parametrize("layer", ["conv_proj", "encoder.layers.encoder_layer_0"])
def test_ablation_of_patches_of_a_transformer(vit, tiny_images, layer):
    output = layer_outputs(vit, tiny_images, [layer])[layer]
    expected = vit.logits(tiny_images) - with_share(vit, tiny_images, layer, POSITIONS)
    assert_lost(ablation(vit, tiny_images, layer, POSITIONS, output), expected)


def test_a_path_through_a_transformer(vit, tiny_images):
    output = layer_outputs(vit, tiny_images, ["conv_proj"])["conv_proj"]
    by_share = [
        by_backward(vit, tiny_images, "conv_proj", POSITIONS, "exact", range(7), s) for s in (0.25, 0.75)
    ]
    path = path_points("integrated", 2)
    found = attribution(vit, tiny_images, "conv_proj", POSITIONS, output=output, path=path)
    assert_close(found, sum(by_share) / 2)
    # The next module is a layer norm, which depends on a token's direction alone, so the logits only change
    # near share 0.
    tokens, near_zero, step = "encoder.layers.encoder_layer_0", (0.001, 0.002), 0.0002
    output = layer_outputs(vit, tiny_images, [tokens])[tokens]
    found = attribution(vit, tiny_images, tokens, POSITIONS, output=output, path=near_zero)
    above, below = (
        sum(with_share(vit, tiny_images, tokens, POSITIONS, share + sign * step) for share in near_zero) / 2
        for sign in (1, -1)
    )
    expected = (above - below) / (2 * step)
    assert float(expected.abs().max()) > 1
    assert float((found - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_every_image_has_its_own_position(small_inception, tiny_images):
    path = path_points("integrated", 4)
    together = attribution(small_inception, tiny_images, "mixed3", POSITIONS, "smooth", path=path)
    lost = ablation(small_inception, tiny_images, "mixed3", POSITIONS)
    for i in range(3):
        one = slice(i, i + 1)
        alone = attribution(small_inception, tiny_images[one], "mixed3", POSITIONS[one], "smooth", path=path)
        assert_close(together[one], alone)
        assert_lost(lost[one], ablation(small_inception, tiny_images[one], "mixed3", POSITIONS[one]))


@pytest.mark.parametrize("position", [[4, 0], [0, -1]])
def test_positions_outside_the_map(small_inception, tiny_images, position):
    with pytest.raises(IndexError, match="4 x 4 map"):
        ablation(small_inception, tiny_images, "mixed5", torch.tensor([[0, 0], [1, 1], position]))
    assert num_hooks(small_inception.module) == 0
