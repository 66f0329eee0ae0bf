"""Attribution of a whole layer: its sums are those of the logit's linearisation, computed in another way."""

from __future__ import annotations

import pytest
import torch
import torch.autograd.forward_ad as forward_ad

from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.capture import capture
from atlas_pipeline.models.layer_override import logits_with
from atlas_pipeline.models.map_attribution import (
    attribution_between,
    class_gradients,
    map_of,
    path_gradients,
    unit_inputs,
)
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.numerics.picture_numbers import map_attribution

CLASSES = [3, 0, 17]


@pytest.fixture(scope="module")
def network():
    return open_network(ModelSpec(source="demo"))


@pytest.fixture(scope="module")
def image():
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _sums(network, image, layer, gradients):
    activations = map_of(network, image, layer).T.numpy()
    return map_attribution(activations, gradients.gradients.numpy())


@pytest.mark.parametrize("layer", ["mixed3", "mixed4"])
@pytest.mark.parametrize("pool", ["exact", "smooth"])
def test_sums_by_place_and_channel_equal_the_linearisation(network, image, layer, pool):
    found = class_gradients(network, image, layer, CLASSES, pool)
    by_position, by_channel = _sums(network, image, layer, found)
    # Forward mode: the derivative of the logits along the activations. Logits are of the order of 10.
    expected = found.expected.numpy()
    assert abs(by_position.sum(axis=1) - expected).max() < 1e-4
    assert abs(by_channel.sum(axis=1) - expected).max() < 1e-4
    assert found.outside.abs().max() < 1e-5
    assert abs(expected).max() > 1


def test_linearisation_is_the_slope_of_the_logit_in_float64(image, monkeypatch):
    monkeypatch.setattr(Network, "checked_logits", lambda self, output: output)
    network = open_network(ModelSpec(source="demo"))
    network.module.double()
    network._normalise.double()
    exact, step = image.double(), 1e-6
    logits = logits_with(network, exact, "mixed4")
    # The slope of the logits as the whole layer grows, by central differences.
    with torch.no_grad():
        up, down = (logits(lambda output, by=by: output * by)[0] for by in (1 + step, 1 - step))
    slope = ((up - down) / (2 * step))[CLASSES]
    found = class_gradients(network, exact, "mixed4", CLASSES, "exact")
    assert found.expected.tolist() == pytest.approx(slope.tolist(), abs=1e-5)
    assert _sums(network, exact, "mixed4", found)[0].sum(axis=1) == pytest.approx(slope.numpy(), abs=1e-4)


def test_attribution_of_a_position_is_that_of_the_sample(network, image):
    found = class_gradients(network, image, "mixed4", CLASSES, "smooth")
    by_position, _ = _sums(network, image, "mixed4", found)
    positions = torch.tensor([[[0, 0], [3, 5], [7, 7]]])
    of_sample = attribution(network, image, "mixed4", positions, "smooth")[0][:, CLASSES]
    here = by_position[:, [0, 3 * 8 + 5, 63]].T
    assert here == pytest.approx(of_sample.numpy(), abs=1e-4)


def test_sums_along_the_path_approach_the_change_of_the_logit(network, image):
    gaps = []
    for num_steps in (2, 64):
        found = path_gradients(network, image, "mixed4", CLASSES, num_steps)
        by_position, by_channel = _sums(network, image, "mixed4", found)
        assert by_channel.sum(axis=1) == pytest.approx(by_position.sum(axis=1), abs=1e-4)
        gaps.append(abs(by_position.sum(axis=1) - found.expected.numpy()).max())
    assert gaps[1] < 0.02
    assert gaps[1] <= gaps[0]
    assert found.expected.abs().max() > 1


def test_number_of_points_at_once_changes_no_path(network, image, monkeypatch):
    found = path_gradients(network, image, "mixed4", CLASSES, 10)
    monkeypatch.setattr("atlas_pipeline.models.map_attribution.POINTS_AT_ONCE", 3)
    other = path_gradients(network, image, "mixed4", CLASSES, 10)
    assert (found.gradients - other.gradients).abs().max() < 1e-6


def test_attribution_between_layers_adds_up_along_the_earlier_layer(network, image):
    found = attribution_between(network, image, "mixed3", "mixed4")
    assert found.shape == (64, 256)
    before = map_of(network, image, "mixed4")
    # Forward mode: the derivative of the later layer as the whole earlier layer grows.
    with torch.no_grad(), forward_ad.dual_level(), capture(network.module, ["mixed4"]) as outputs:
        logits_with(network, image, "mixed3")(lambda output: forward_ad.make_dual(output.clone(), output))
        slope = forward_ad.unpack_dual(outputs["mixed4"]).tangent[0].flatten(1)
    expected = (slope * before / before.norm(dim=0)).sum(dim=0)
    assert found.sum(dim=1).numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    assert expected.abs().max() > 1


def test_positions_beyond_the_receptive_field_have_no_part(network, image):
    found = attribution_between(network, image, "mixed3", "mixed4").reshape(64, 16, 16)
    corner = found[0]
    assert corner[:4, :4].abs().max() > 0
    assert corner[12:, 12:].abs().max() == 0


def test_vision_transformer_says_what_its_class_token_carries():
    import timm

    class Tokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.vit = timm.create_model(
                "vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=5, depth=3
            )

        def forward(self, images):
            return self.vit(images)

    network = Network(
        name="tokens", module=Tokens(), preprocess=Preprocess(resize=32, crop=32), weights_note=""
    )
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    found = class_gradients(network, image, "vit.blocks.1", [0, 4])
    by_position, _ = _sums(network, image, "vit.blocks.1", found)
    assert by_position.shape == (2, 16)
    assert found.outside.abs().min() > 1e-4
    total = torch.tensor(by_position.sum(axis=1)) + found.outside
    assert total.tolist() == pytest.approx(found.expected.tolist(), abs=1e-4)


def test_inputs_of_a_unit_add_up_to_its_slope_along_the_layer_before(monkeypatch):
    monkeypatch.setattr(Network, "checked_logits", lambda self, output: output)
    network = open_network(ModelSpec(source="demo"))
    network.module.double()
    network._normalise.double()
    exact = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad(), capture(network.module, ["mixed3", "mixed4"]) as outputs:
        network.logits(exact)
    before, after = outputs["mixed3"], outputs["mixed4"]
    # The strongest unit of each image, so that none is silent.
    at = after.flatten(1).argmax(1)
    units = at // 64
    positions = torch.stack([at % 64 // 8, at % 8], dim=1)
    found = unit_inputs(network, exact, "mixed3", "mixed4", units, positions)

    def value(scale):
        with torch.no_grad(), capture(network.module, ["mixed4"]) as changed:
            logits_with(network, exact, "mixed3")(lambda output: output * scale)
        return changed["mixed4"].flatten(1).gather(1, at[:, None])[:, 0]

    slope = (value(1 + 1e-6) - value(1 - 1e-6)) / 2e-6
    assert slope.abs().min() > 0.1
    assert found.sum((1, 2, 3)).tolist() == pytest.approx(slope.tolist(), rel=1e-4)
    assert found.shape == before.shape
    # Positions that the unit does not see have no part in it.
    reached = found.abs().sum(1).flatten(1) > 0
    assert (reached.sum(1) < 64).all()
