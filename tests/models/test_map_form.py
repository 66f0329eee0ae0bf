"""Token and channels-last outputs become correctly oriented feature maps; other outputs are refused."""

import pytest
import torch
from small_networks import small_network
from timm.models.mlp_mixer import MlpMixer
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import check_layers, feature_maps, list_layers
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.map_form import MapForm

POSITIONS = torch.tensor([[1, 2], [0, 3], [3, 0]])


def forms(network):
    return {layer.name: layer.form for layer in list_layers(network)}


def raw_output(network, images, layer):
    kept = []
    with hooked(network.module, {layer: lambda _, __, output: kept.append(output.detach().clone())}):
        network.logits(images)
    return kept[-1]


def by_backward(network, images, layer, index, num_classes):
    """a . d logit / d h, where a is ``output[index]`` of the layer's raw output."""
    kept = []

    def hook(_, __, output):
        kept.append(output.detach().clone().requires_grad_())
        return kept[0] * 1

    with hooked(network.module, {layer: hook}):
        logits = network.logits(images)
    columns = []
    for c in range(num_classes):
        (gradient,) = torch.autograd.grad(logits[:, c].sum(), kept[0], retain_graph=True)
        columns.append((gradient[index] * kept[0].detach()[index]).sum(dim=1))
    return torch.stack(columns, dim=1)


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert float(expected.abs().max()) > 0
    assert float((actual - expected).abs().max()) < 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("layer", ["pos_drop", "blocks.0", "blocks.1.mlp.fc1", "norm"])
def test_prefix_tokens_are_left_out_and_the_rest_is_row_by_row(registers, tiny_images, layer):
    output = raw_output(registers, tiny_images, layer)
    h = feature_maps(registers, tiny_images, [layer])[layer]
    assert h.shape == (3, output.shape[2], 4, 4)
    for row in range(4):
        for column in range(4):
            assert torch.equal(h[:, :, row, column], output[:, 4 + 4 * row + column])


@pytest.mark.parametrize("layer", ["patch_embed", "pos_drop"])
def test_a_token_lies_where_its_patch_does(registers, tiny_images, layer):
    other = tiny_images.clone()
    other[:, :, 8:16, 24:32] += 0.5
    before, after = (feature_maps(registers, x, [layer])[layer] for x in (tiny_images, other))
    changed = (before != after).any(dim=1).any(dim=0)
    assert changed.nonzero().tolist() == [[1, 3]]


def test_layers_of_a_transformer(registers):
    layers = {layer.name: layer for layer in list_layers(registers)}
    assert layers["patch_embed"].form == "tokens"
    assert layers["blocks.0"].form == "tokens, 4 left out"
    assert layers["patch_embed.proj"].form == "channels first"
    for name in ("patch_embed", "pos_drop", "blocks.0.norm1"):
        assert (layers[name].receptive_field_px, layers[name].stride_px) == (8, 8), name
    assert layers["blocks.0"].sees_whole_image
    assert (layers["blocks.1"].num_channels, layers["blocks.1"].height, layers["blocks.1"].width) == (
        16,
        4,
        4,
    )
    # The output (B, head, token, feature) is split by head, so it cannot be read as a map.
    assert registers.runs["blocks.0.attn.q_norm"].shape == (2, 20, 8)
    assert "blocks.0.attn.q_norm" not in layers
    assert "head" not in layers
    with pytest.raises(ModelError, match=r"'head' of VisionTransformer has no spatial map.*nearest .*'norm'"):
        check_layers(registers, ["head"])


@pytest.mark.parametrize("layer", ["patch_embed", "pos_drop", "blocks.0", "blocks.0.mlp.fc1"])
def test_attribution_is_that_of_the_right_token(registers, tiny_images, layer):
    num_prefix = 0 if layer == "patch_embed" else 4
    tokens = num_prefix + 4 * POSITIONS[:, 0] + POSITIONS[:, 1]
    expected = by_backward(registers, tiny_images, layer, (torch.arange(3), tokens), 7)
    assert_close(attribution(registers, tiny_images, layer, POSITIONS), expected)
    output = raw_output(registers, tiny_images, layer)
    assert_close(attribution(registers, tiny_images, layer, POSITIONS, output=output), expected)


@pytest.mark.parametrize("layer", ["features.1", "features.3.0.norm1", "features.3.0.mlp.0"])
def test_channels_last_maps_are_turned(swin, tiny_images, layer):
    output = raw_output(swin, tiny_images, layer)
    h = feature_maps(swin, tiny_images, [layer])[layer]
    assert torch.equal(h, output.permute(0, 3, 1, 2))
    index = (torch.arange(3), POSITIONS[:, 0], POSITIONS[:, 1])
    expected = by_backward(swin, tiny_images, layer, index, 7)
    assert_close(attribution(swin, tiny_images, layer, POSITIONS), expected)
    assert_close(attribution(swin, tiny_images, layer, POSITIONS, output=output), expected)


def test_as_many_channels_as_rows_and_columns(swin):
    """The output is 8 x 8 x 8, so only a second image size shows which axis holds the channels."""
    assert swin.runs["features.1.0.norm1"].shape == swin.runs["features.0.0"].shape == (8, 8, 8)
    known = forms(swin)
    assert known["features.1.0.norm1"] == known["features.1"] == known["features.0.1"] == "channels last"
    assert known["features.0.0"] == known["permute"] == "channels first"


@pytest.mark.parametrize("network_and_layer", [("registers", "blocks.0"), ("swin", "features.3")])
def test_the_cut_network_gives_the_same_map(request, tiny_images, network_and_layer):
    name, layer = network_and_layer
    network = request.getfixturevalue(name)
    gradients = []
    for function in (cut(network, layer), lambda x: feature_maps(network, x, [layer])[layer]):
        x = tiny_images.clone().requires_grad_()
        h = function(x)
        h.square().sum().backward()
        gradients.append((h.detach(), x.grad))
    assert_close(gradients[0][0], gradients[1][0])
    assert_close(gradients[0][1], gradients[1][1])


class Patches(nn.Module):
    """Tokens of 4 x 4 patches after two tokens of its own; the module declares neither number."""

    def __init__(self, flatten=None):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8) if flatten is None else flatten
        self.own = nn.Parameter(torch.ones(1, 2, 6))
        self.tokens = nn.Identity()
        self.wide = nn.Linear(6, 9)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.tokens(torch.cat([self.own.expand(len(x), -1, -1), x], dim=1))
        return self.wide(x).mean(dim=1)


def test_networks_that_do_not_state_their_tokens(tiny_images):
    network = small_network(Patches())
    assert forms(network) == {
        "patches": "channels first",
        "tokens": "tokens, 2 left out",
        "wide": "tokens, 2 left out",
    }
    maps = feature_maps(network, tiny_images, ["patches", "tokens"])
    assert torch.equal(maps["patches"], maps["tokens"])


def test_what_is_mixed_over_tokens_is_no_map():
    """A Mixer's (B, channel, token) has 16 = 4 x 4 channels, but they form no spatial grid."""
    with seeded(0):
        module = MlpMixer(num_classes=7, img_size=32, patch_size=4, num_blocks=1, embed_dim=16)
    known = forms(small_network(module))
    assert known["blocks.0"] == known["stem"] == "tokens"
    assert "blocks.0.mlp_tokens.fc1" not in known


def test_maps_of_convolutions_stay_as_they_are():
    class Awkward(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(3, 16, 3, stride=(2, 1), padding=1)
            self.cube = nn.Conv2d(16, 16, 3, stride=(1, 2), padding=1)
            self.flat = nn.Flatten(2)

        def forward(self, x):
            return self.flat(self.cube(self.wide(x))).mean(dim=2)

    network = small_network(Awkward())
    assert (network.runs["wide"].shape, network.runs["cube"].shape) == ((16, 16, 32), (16, 16, 16))
    known = forms(network)
    assert known["wide"] == known["cube"] == "channels first"


def test_a_layer_norm_leaves_no_attribution_to_what_only_it_sees(registers, tiny_images):
    """A layer norm ignores its input's scale, so a . d/da is 0 in the last blocks (see docs/models.md)."""
    last, before = (attribution(registers, tiny_images, f"blocks.{i}", POSITIONS).abs().max() for i in (1, 0))
    assert float(last) < 1e-4 * float(before)


def test_tokens_that_make_no_square():
    with pytest.raises(ModelError, match="12 tokens make no square"):
        MapForm("tokens", 1).to_map(torch.randn(2, 13, 5))
