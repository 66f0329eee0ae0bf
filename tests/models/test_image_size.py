"""An image size that a network does not accept gives a one-line error; other errors pass unchanged."""

import pytest
import torch
from small_networks import small_network
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import open_network
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.spec import ModelSpec


def images(height, width=None):
    return torch.rand(2, 3, height, width or height)


@pytest.fixture(scope="module")
def torchvision_vit():
    from torchvision.models import VisionTransformer

    with seeded(0):
        return small_network(VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=7))


@pytest.mark.parametrize("px", [16, 64])
@pytest.mark.parametrize("name", ["registers", "torchvision_vit"])
def test_transformers_take_one_size(request, capfd, name, px):
    network = request.getfixturevalue(name)
    layer = "blocks.1" if name == "registers" else "encoder.layers.encoder_layer_0"
    part = cut(network, layer)
    assert part(images(32)).shape == (2, 16, 4, 4)
    with pytest.raises(
        ModelError, match=r"VisionTransformer takes images of 32 px only \(.*\); set invert.size_px: 32$"
    ) as caught:
        part(images(px))
    assert "\n" not in str(caught.value)
    # torch.fx would otherwise print the code of a traced network.
    assert capfd.readouterr() == ("", "")


def test_what_takes_every_size_is_not_refused(torchvision_vit, swin):
    """Patch convolutions, windows, and transformers that resize their position embedding accept any size."""
    from timm.models.vision_transformer import VisionTransformer

    assert cut(torchvision_vit, "conv_proj")(images(48)).shape == (2, 16, 6, 6)
    assert cut(swin, "features.3")(images(64)).shape == (2, 16, 8, 8)
    with seeded(0):
        dynamic = VisionTransformer(32, 8, embed_dim=16, depth=1, num_heads=2, dynamic_img_size=True)
    part = cut(small_network(dynamic), "blocks.0")
    assert part(images(48)).shape == (2, 16, 6, 6)
    with pytest.raises(
        ModelError, match=r"cannot run on images of 44 px \(.*divisible.*\); set invert.size_px to 32"
    ):
        part(images(44))
    with pytest.raises(ModelError, match=r"tokens make no square .*give square images"):
        part(images(32, 48))


def test_images_smaller_than_a_network_can_take(googlenet):
    part = cut(googlenet, "inception3a")
    with pytest.raises(
        ModelError, match=r"googlenet cannot run on images of 2 px \(.*\); set invert.size_px to 64, the size"
    ):
        part(images(2))


class Fails(nn.Module):
    """Raises the error it is given, for images of 16 px only."""

    error: Exception | None = None
    runs = 0

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        self.runs += 1
        if self.error is not None and x.shape[2] == 16:
            raise self.error
        return self.conv(x).mean(dim=(2, 3))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_running_out_of_memory_passes_untouched(error):
    part = cut(small_network(Fails()), "conv")
    part.body = Fails()
    part.body.error = error
    with pytest.raises(type(error)) as caught:
        part(images(16))
    assert caught.value is error
    # Running out of memory must not trigger a second attempt.
    assert part.body.runs == 1


def test_an_error_that_comes_at_every_size_passes_untouched():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("a device is broken")

    part = cut(small_network(Fails()), "conv")
    part.body = Broken()
    for size in (16, 32):
        with pytest.raises(RuntimeError, match="a device is broken") as caught:
            part(images(size))
        assert not isinstance(caught.value, ModelError)


def test_an_error_that_comes_once_passes_untouched():
    class Once(nn.Module):
        runs = 0

        def forward(self, x):
            self.runs += 1
            if self.runs == 1:
                raise RuntimeError("a hiccup")
            return x

    part = cut(small_network(Fails()), "conv")
    part.body = Once()
    with pytest.raises(RuntimeError, match="a hiccup") as caught:
        part(images(16))
    assert not isinstance(caught.value, ModelError)


def test_opening_a_transformer_at_another_size_says_so():
    spec = ModelSpec(source="timm", name="vit_tiny_patch16_224", weights="random", preprocess={"crop": 64})
    with pytest.raises(
        ModelError,
        match=r"vit_tiny_patch16_224 cannot run on a 64 px image: .*set model.preprocess.crop: 224",
    ):
        open_network(spec)
