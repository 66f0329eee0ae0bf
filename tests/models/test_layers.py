"""Layers, receptive fields and strides agree with the known values of each network."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import num_hooks, small_network
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import check_layers, list_layers


def by_name(network, size_px=None):
    return {layer.name: layer for layer in list_layers(network, size_px)}


def test_resnet18_has_the_receptive_fields_of_the_literature(resnet18):
    # Araujo et al., "Computing receptive fields of convolutional neural networks", 2019: 43, 99, 211, 435.
    layers = by_name(resnet18, 160)
    expected = {"conv1": (7, 2), "maxpool": (11, 4), "layer1": (43, 4), "layer2": (99, 8)}
    for name, (field, stride) in expected.items():
        assert (layers[name].receptive_field_px, layers[name].stride_px) == (field, stride), name
        assert not layers[name].sees_whole_image
    assert layers["layer4"].sees_whole_image
    assert layers["layer4"].receptive_field_px == 160
    assert layers["layer4"].stride_px == 32
    assert (layers["layer2"].num_channels, layers["layer2"].height, layers["layer2"].width) == (128, 20, 20)
    assert num_hooks(resnet18.module) == 0


def test_layers_come_in_the_order_in_which_they_finish(resnet18):
    names = list(by_name(resnet18))
    picked = ["conv1", "maxpool", "layer1.0.conv1", "layer1.0", "layer1", "layer2", "layer4", "avgpool"]
    assert [name for name in names if name in picked] == picked
    assert "fc" not in names


def test_inception_branches_differ(googlenet):
    layers = by_name(googlenet)
    assert layers["inception3a.branch1"].receptive_field_px == 27
    assert layers["inception3a.branch2"].receptive_field_px == 43
    assert layers["inception3a"].receptive_field_px == 43
    assert layers["inception3a"].kind == "Inception"


def test_a_gate_over_the_whole_image_sees_the_whole_image():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.gated = nn.Identity()

        def forward(self, x):
            x = self.conv(x).relu()
            x = self.gated(x * x.mean(dim=(2, 3), keepdim=True).sigmoid())
            return x.mean(dim=(2, 3))

    layers = by_name(small_network(Gated()))
    assert layers["conv"].receptive_field_px == 3
    assert layers["gated"].sees_whole_image


@pytest.mark.parametrize(
    ("conv", "field", "stride"),
    [
        (nn.Conv2d(3, 4, 3, dilation=4, padding=4), 9, 1),
        (nn.Conv2d(3, 4, (1, 5), padding=(0, 2)), 5, 1),
        (nn.Conv2d(3, 4, 4, padding="same"), 4, 1),
        (nn.Conv2d(3, 6, 5, padding=2, stride=3, groups=3), 5, 3),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), 3, 1),
        (nn.Conv2d(3, 4, 7, stride=7), 7, 7),
    ],
)
def test_one_convolution(conv, field, stride):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            return self.conv(x).mean(dim=(2, 3))

    layer = by_name(small_network(One()))["conv"]
    assert (layer.receptive_field_px, layer.stride_px) == (field, stride)


def test_dead_relus_do_not_shrink_a_receptive_field():
    """A receptive field depends on the structure alone; a gradient would vanish behind dead ReLUs."""

    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 5, padding=2)
            nn.init.constant_(self.conv.bias, -1e3)
            self.pool = nn.MaxPool2d(2)

        def forward(self, x):
            return self.pool(self.conv(x).relu()).mean(dim=(2, 3))

    assert by_name(small_network(Dead()))["pool"].receptive_field_px == 6


def test_heads_of_a_fixed_size_do_not_matter():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1, stride=2)
            self.head = nn.Linear(2 * 16 * 16, 5)

        def forward(self, x):
            return self.head(self.conv(x).flatten(1))

    layer = by_name(small_network(Flat()))["conv"]
    assert (layer.receptive_field_px, layer.stride_px, layer.height) == (3, 2, 16)


def test_known_layers_pass(googlenet):
    check_layers(googlenet, ["inception4c", "inception4c.branch1.conv"])
    with pytest.raises(
        ModelError, match=r"layer 'inception4x' is not in googlenet; nearest: 'inception4[a-e]'"
    ):
        check_layers(googlenet, ["inception4x"])


def test_a_receptive_field_is_what_the_activation_answers_to(small_inception):
    """The centre's gradient is zero outside the field and nonzero at the field's border pixels."""
    from atlas_pipeline.models import feature_maps

    layer = by_name(small_inception)["stem.4.0"]
    field, size, half = layer.receptive_field_px, 32, layer.height // 2
    assert field is not None
    images = torch.rand(1, 3, size, size, dtype=torch.float32).requires_grad_()
    centre = feature_maps(small_inception, images, ["stem.4.0"])["stem.4.0"][0, :, half, half]
    seen = torch.autograd.grad(centre.abs().sum(), images)[0].abs().sum(dim=(0, 1))
    rows = seen.sum(dim=1).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == field


def deformed(x):
    """A deformable convolution, which crashes the process if its offsets are NaN."""
    from torchvision.ops import deform_conv2d

    return deform_conv2d(
        x, x.mean(dim=1, keepdim=True).repeat(1, 18, 1, 1), torch.ones(4, 4, 3, 3), padding=1
    )


def pooled_regions(x):
    from torchvision.ops import roi_align

    boxes = torch.tensor([[float(index), 0, 0, 9, 9] for index in range(len(x))])
    return F.interpolate(roi_align(x, boxes, 3), x.shape[2:])


def warped(x):
    """Grid sampling with border padding drops NaN, so a position would seem to see nothing."""
    grid = x[:, :2].permute(0, 2, 3, 1).tanh()
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


HIDING = {
    "deformable convolution": deformed,
    "regions": pooled_regions,
    "sampling": warped,
    "fake quantisation": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255),
    "nan_to_num": torch.nan_to_num,
}
# These operations convert to integers and back: at a NaN they read an arbitrary index, or none.
WHOLE = {
    "a look-up": lambda x: F.embedding(x.mean(dim=1).clamp(0, 3).long(), torch.eye(4)).permute(0, 3, 1, 2),
    "gather": lambda x: x.gather(1, x.clamp(0, 3).long()),
    "the nearest code": lambda x: torch.eye(4)[x.argmax(dim=1)].permute(0, 3, 1, 2),
}
LOCAL = {"sorting": lambda x: x.sort(dim=1).values, "topk": lambda x: x.topk(4, dim=1).values}
GLOBAL = {
    "fft": lambda x: torch.fft.ifft2(torch.fft.fft2(x)).real,
    "singular values": lambda x: x * torch.linalg.svdvals(x).sum(dim=-1)[..., None, None],
}


class Within(nn.Module):
    """`before` sees 3 px and runs ahead of the operation; `out` follows it."""

    def __init__(self, operation):
        super().__init__()
        self.before, self.out, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Identity(), nn.Linear(4, 5)
        self.operation = operation

    def forward(self, x):
        return self.head(self.out(self.operation(self.before(x))).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        *((operation, None) for operation in HIDING.values()),
        *((operation, 32) for operation in (WHOLE | GLOBAL).values()),
        *((operation, 3) for operation in LOCAL.values()),
    ],
    ids=[*HIDING, *WHOLE, *GLOBAL, *LOCAL],
)
def test_operations_that_nan_would_end_or_that_hide_it(operation, field):
    layers = by_name(small_network(Within(operation)))
    assert layers["before"].receptive_field_px == 3
    # A reported field is never too small; it is None where it cannot be determined.
    assert layers["out"].receptive_field_px == field
    assert (layers["out"].height, layers["out"].stride_px) == (32, 1)


def test_a_size_that_the_network_does_not_take_is_refused():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            assert x.shape[2] == 32
            return self.conv(x).mean(dim=(2, 3))

    with pytest.raises(ModelError, match="layer 'conv' of Fixed has no map of images of 64 px"):
        list_layers(small_network(Fixed()), 64)
