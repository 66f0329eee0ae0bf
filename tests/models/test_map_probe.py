"""Feature maps follow the image for tokens in any order and in containers; maps of windows are refused."""

import pytest
import torch
from small_networks import small_network
from test_map_form import assert_close, by_backward
from token_networks import CHANNELS, HOLDERS, LAYOUTS, SIDE, maps_network, tokens_network
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import check_layers, feature_maps, list_layers
from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.calibrate import noise_images, seeded
from atlas_pipeline.models.capture import layer_outputs
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.held_tensor import held_tensor, with_tensor
from atlas_pipeline.models.map_evidence import map_evidence
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.map_probe import PLACES, patch_images
from atlas_pipeline.models.map_signal import evidence

POSITIONS = torch.tensor([[1, 2], [0, 7], [7, 0]])


def where_patches_show(network, layer):
    """For each position in row-major order, the index of the 4 px patch that changes it most."""
    size = 4 * SIDE
    images = noise_images(size, 5, 1).repeat(SIDE * SIDE + 1, 1, 1, 1)
    for image, at in zip(images[1:], range(SIDE * SIDE), strict=True):
        row, column = 4 * (at // SIDE), 4 * (at % SIDE)
        patch = image[:, row : row + 4, column : column + 4]
        patch.copy_(1 - patch)
    h = feature_maps(network, images, [layer])[layer]
    change = (h[1:] - h[:1]).abs().sum(1).flatten(1)
    return (change / change.mean(1, keepdim=True)).argmax(dim=0)


def by_hand(network, images, layer, positions):
    """a . d logit / d h by a backward pass, with the map layout that ``feature_maps`` uses."""
    form = network.runs[layer].form
    kept = []

    def hook(_, __, output):
        kept.append(held_tensor(output).detach().clone().requires_grad_())
        return with_tensor(output, kept[0] * 1)

    with hooked(network.module, {layer: hook}):
        logits = network.logits(images)
    columns = []
    for c in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, c].sum(), kept[0], retain_graph=True)
        product = form.to_map(gradient) * form.to_map(kept[0].detach())
        columns.append(product[torch.arange(len(images)), :, positions[:, 0], positions[:, 1]].sum(dim=1))
    return torch.stack(columns, dim=1)


OPTIONS = {
    **{layout: (layout, {}) for layout in LAYOUTS},
    **{kind: ("front", {"hold": hold}) for kind, hold in HOLDERS.items()},
    "sequence first": ("front", {"sequence_first": True}),
    "sequence first, class at the end": ("end", {"sequence_first": True}),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_position_is_where_its_patch_is(kind, tiny_images):
    layout, options = OPTIONS[kind]
    network = tokens_network(layout, **options)
    for layer in ("blocks.0", "blocks.1"):
        assert torch.equal(where_patches_show(network, layer), torch.arange(SIDE * SIDE)), layer
        assert str(map_evidence(network, [layer])[layer]) == "shows where it should at 8 of 8 places"
    layer = "blocks.0"
    h = feature_maps(network, tiny_images, [layer])[layer]
    assert h.shape == (3, CHANNELS, SIDE, SIDE)
    assert_close(cut(network, layer)(tiny_images), h)
    expected = by_hand(network, tiny_images, layer, POSITIONS)
    assert_close(attribution(network, tiny_images, layer, POSITIONS), expected)
    output = layer_outputs(network, tiny_images, [layer])[layer]
    assert_close(attribution(network, tiny_images, layer, POSITIONS, output=output), expected)
    lost = ablation(network, tiny_images, layer, POSITIONS)
    assert_close(ablation(network, tiny_images, layer, POSITIONS, output), lost)
    infos = {info.name: info for info in list_layers(network)}
    assert (infos[layer].height, infos[layer].width) == (SIDE, SIDE)


def test_attribution_of_rearranged_tokens_is_that_of_the_token():
    """The token index is computed by hand, with rows and columns swapped."""
    network = tokens_network("columns")
    images = noise_images(32, seed=7, num_images=3)
    tokens = 1 + 8 * POSITIONS[:, 1] + POSITIONS[:, 0]
    expected = by_backward(network, images, "blocks.0", (torch.arange(3), tokens), 5)
    assert_close(attribution(network, images, "blocks.0", POSITIONS), expected)


FORMS = {
    "front": "tokens, 1 left out",
    "end": "tokens, 1 left out, rearranged",
    "spread": "tokens, 4 left out, rearranged",
    "windows": "tokens, rearranged",
    "tuple": "tokens, 1 left out, first of a tuple",
    "sequence first": "sequence first, 1 left out",
}


@pytest.mark.parametrize("kind", FORMS)
def test_layers_say_how_they_are_read(kind):
    layout, options = OPTIONS[kind]
    assert str(tokens_network(layout, **options).runs["blocks.1"].form) == FORMS[kind]


def windows_of(x):
    """Split (B, C, 8, 8) into windows of 4 x 4: (B, window, position, C)."""
    return x.unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def map_of(windows):
    return (
        windows.unflatten(1, (2, 2)).unflatten(3, (4, 4)).permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
    )


TURNS = {
    "windows": (windows_of, map_of, 8),
    "windows, square": (windows_of, map_of, 16),
    "windows as images": (
        lambda x: windows_of(x).flatten(0, 1),
        lambda x: map_of(x.unflatten(0, (-1, 4))),
        8,
    ),
    "heads": (
        lambda x: x.flatten(2).unflatten(1, (2, 4)).transpose(2, 3),
        lambda x: x.transpose(2, 3).flatten(1, 2).unflatten(2, (8, 8)),
        8,
    ),
}


@pytest.mark.parametrize("kind", TURNS)
def test_windows_and_heads_are_no_maps(kind):
    turn, back, channels = TURNS[kind]
    images = torch.rand(2, channels, 8, 8)
    assert torch.equal(back(turn(images)), images)
    network = maps_network(turn, back, channels)
    with pytest.raises(
        ModelError, match=r"its outputs are windows or heads, not rows and columns.*nearest.*'conv'"
    ):
        check_layers(network, ["turned"])
    check_layers(network, ["conv", "after"])


@pytest.mark.parametrize("axes", [(0, 1, 3, 2), (0, 3, 2, 1)])
def test_maps_whose_rows_are_the_images_columns_are_refused(axes):
    network = maps_network(lambda x: x.permute(axes), lambda x: x.permute(axes))
    with pytest.raises(ModelError, match=r"its rows and columns are not the image's.* of 8 places"):
        check_layers(network, ["turned"])


def test_flipped_and_transposed_maps_contradict_the_probe():
    """Flipped, transposed and shuffled maps are not accepted: the evidence fits one orientation only."""
    network = tokens_network("front")
    maps = feature_maps(network, patch_images(32), ["blocks.1"])["blocks.1"]
    change = (maps[1:] - maps[:1]).abs().mean(1)
    assert evidence(change).verdict == "shown"
    turned = [
        change.transpose(1, 2),
        change.flip(1),
        change.flip(2),
        change.flip(1, 2),
        change.transpose(1, 2).flip(1),
    ]
    assert {evidence(one).verdict for one in turned} == {"contradicted"}
    shuffled = change.flatten(1)[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    assert evidence(shuffled.view(-1, 8, 8)).verdict != "shown"


def test_axes_of_unlike_stride_are_maps_and_follow_the_image():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(3, 6, (4, 2), stride=(4, 2))
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            return self.head(self.wide(x).relu().mean(dim=(2, 3)))

    network = small_network(Wide())
    assert network.runs["wide"].form == MapForm("channels first")
    assert feature_maps(network, torch.rand(1, 3, 32, 32), ["wide"])["wide"].shape == (1, 6, 8, 16)


@pytest.mark.parametrize("what", ["dead", "global", "pooled"])
def test_where_nothing_can_be_told_the_shape_decides(what):
    class Untold(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 4, stride=4)
            self.last = nn.AdaptiveAvgPool2d(1) if what == "pooled" else nn.Conv2d(6, 6, 1)
            self.head = nn.Linear(6, 5)
            if what == "dead":
                nn.init.zeros_(self.last.weight)

        def forward(self, x):
            x = self.conv(x)
            if what == "global":
                x = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
            return self.head(self.last(x).mean(dim=(2, 3)))

    network = small_network(Untold())
    assert network.runs["last"].form == MapForm("channels first")
    found = map_evidence(network, ["conv", "last"])
    assert found["conv"].verdict == "shown"
    assert str(found["last"]).startswith("cannot be told: ")


def test_a_network_that_fails_on_the_probes_images_keeps_its_shapes_maps():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(3, 6, 4, stride=4), nn.ReLU(), nn.Linear(6, 5)

        def forward(self, x):
            h = self.conv(x)
            if len(x) > 2:
                raise ValueError("only pairs")
            return self.head(self.act(h).mean(dim=(2, 3)))

    network = small_network(Pairs())
    assert network.runs["act"].form == MapForm("channels first")
    assert (
        str(map_evidence(network, ["act"])["act"])
        == "cannot be told: the network fails on the probe's images"
    )


def test_places_tell_turned_images_from_the_image():
    places = set(PLACES)
    turns = [
        lambda r, c: (c, r),
        lambda r, c: (3 - r, c),
        lambda r, c: (r, 3 - c),
        lambda r, c: (3 - r, 3 - c),
        lambda r, c: (3 - c, 3 - r),
    ]
    for turn in turns:
        assert sum(turn(*place) == place for place in places) <= 2


def test_torchvisions_transformers_are_read_as_before():
    from torchvision.models import VisionTransformer

    with seeded(0):
        network = small_network(VisionTransformer(32, 4, 3, 2, 16, 32, num_classes=5))
    layers = [f"encoder.layers.encoder_layer_{i}" for i in range(3)]
    assert {str(network.runs[layer].form) for layer in layers} == {"tokens, 1 left out"}
    assert str(network.runs[f"{layers[0]}.self_attention"].form) == "tokens, 1 left out, first of a tuple"
    assert {found.verdict for found in map_evidence(network, layers).values()} == {"shown"}


def test_maxvits_windows_are_refused_and_its_maps_are_not():
    from torchvision.models import MaxVit

    with seeded(0):
        module = MaxVit((32, 32), 16, 4, [16, 32], [1, 1], 8, 0.0, num_classes=5)
    network = small_network(module)
    maps = {name for name, run in network.runs.items() if run.is_map}
    inside = {name for name in network.runs if ".attn_layer" in name or ".mlp_layer" in name}
    assert not maps & inside
    assert {"stem", "blocks.0", "blocks.0.layers.0.layers.window_attention", "blocks.1"} <= maps
    with pytest.raises(
        ModelError, match=r"windows or heads.*nearest that has one: 'blocks.0.layers.0.layers.MBconv'"
    ):
        check_layers(network, ["blocks.0.layers.0.layers.window_attention.attn_layer.0"])
