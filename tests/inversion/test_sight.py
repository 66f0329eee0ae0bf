import pytest
import torch
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion.visible_window import VisibleWindow, visible_window

CPU = torch.device("cpu")


def convolutions(*sizes_and_strides: tuple[int, int], relu: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for size, stride in sizes_and_strides:
            layers += [nn.Conv2d(8 if layers else 3, 8, size, stride, size // 2)]
            layers += [nn.ReLU()] if relu else [nn.Identity()]
    return nn.Sequential(*layers).requires_grad_(False)


def test_a_small_receptive_field_is_cut_out_in_whole_positions():
    # 3 x 3, then 3 x 3 with stride 2: a position sees 5 pixels, centred on the first of its own two.
    network = convolutions((3, 1), (3, 2))
    window = visible_window(network, 16, CPU)
    # Position 4 of 8 is centred on pixel 8 and sees pixels 6 to 10. The window covers positions 3 to 5,
    # which are pixels 6 to 11.
    assert window == VisibleWindow(low=6, high=12, row=1, col=1, map_side=8)


def test_the_part_gives_the_same_activation_and_gradient():
    network = convolutions((5, 2), (3, 2), (3, 1))
    window = visible_window(network, 64, CPU)
    assert window.high - window.low < 40
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    part = image[:, :, window.low : window.high, window.low : window.high]
    whole, cut = network(image)[:, :, 8, 8], network(part)[:, :, window.row, window.col]
    torch.testing.assert_close(whole, cut)
    (of_whole,) = torch.autograd.grad(whole.sum(), image)
    (of_cut,) = torch.autograd.grad(cut.sum(), image)
    torch.testing.assert_close(of_whole, of_cut)


def test_channels_that_sleep_are_seen_too():
    """A dead ReLU hides its receptive field from every trial image, but NaN still passes through it."""
    network = convolutions((3, 1), (3, 2))
    with torch.no_grad():
        network[0].bias.fill_(-100.0)
    assert visible_window(network, 16, CPU) == VisibleWindow(6, 12, 1, 1, 8)


def test_what_pools_globally_sees_the_whole_image():
    network = convolutions((3, 1), (3, 2))

    def squeezed(images):
        maps = network(images)
        return maps * maps.mean((2, 3), keepdim=True)

    assert visible_window(squeezed, 16, CPU) == VisibleWindow(0, 16, 4, 4, 8)


def test_a_network_of_one_size_only_sees_the_whole_image():
    network = convolutions((3, 1), (3, 2))

    def fixed(images):
        if images.shape[-1] != 16:
            raise ModelError("takes images of 16 px only")
        return network(images)

    assert visible_window(fixed, 16, CPU) == VisibleWindow(0, 16, 4, 4, 8)


@pytest.mark.parametrize("side", [1, 5])
def test_a_map_that_does_not_divide_the_image_is_left_whole(side):
    window = visible_window(lambda images: nn.functional.adaptive_avg_pool2d(images, side), 16, CPU)
    assert window == VisibleWindow(0, 16, side // 2, side // 2, side)


def test_an_image_smaller_than_the_network_s_minimum_is_said():
    network = nn.Sequential(nn.Conv2d(3, 8, 7), nn.MaxPool2d(4))
    with pytest.raises(ModelError, match="takes no images of 4 px"):
        visible_window(network, 4, CPU)


def test_what_gives_no_map_is_said():
    with pytest.raises(ModelError, match="cut it at a layer with a map"):
        visible_window(lambda images: images.mean((2, 3)), 16, CPU)


def test_operations_that_nan_would_end_are_not_trimmed():
    from torchvision.ops import deform_conv2d

    convolution = convolutions((3, 1))

    def deformed(images):
        x = convolution(images)
        offsets = x[:, :1].repeat(1, 18, 1, 1)
        return deform_conv2d(x, offsets, torch.ones(8, 8, 3, 3), padding=1)

    assert visible_window(deformed, 16, CPU) == VisibleWindow(0, 16, 8, 8, 16)


def test_a_network_that_fails_at_nan_is_not_trimmed():
    convolution = convolutions((3, 1))

    def looked_up(images):
        x = convolution(images)
        return x * {True: 1.0}[bool(x.sum() == x.sum())]

    assert visible_window(looked_up, 16, CPU) == VisibleWindow(0, 16, 8, 8, 16)
