from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from making import encoded, picture
from PIL import Image

from atlas_pipeline.images import resize_crop as preprocess_module
from atlas_pipeline.images.decode import decode
from atlas_pipeline.images.resize_crop import apply_preprocess


@dataclass(frozen=True)
class Geometry:
    resize: int | None
    crop: int
    interpolation: str = "bilinear"


def of_torchvision(image, resize, crop, interpolation):
    from torchvision.transforms.v2 import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

    steps = Compose([Resize(resize, InterpolationMode(interpolation)), CenterCrop(crop), PILToTensor()])
    return steps(Image.fromarray(image)).numpy()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("height", "width", "resize", "crop"),
    [
        (375, 500, 256, 224),
        (500, 333, 256, 224),
        (97, 61, 64, 64),
        (33, 45, 70, 51),
        (64, 64, 64, 63),
        (1, 1, 9, 8),
    ],
)
def test_equals_torchvisions_preset(height, width, resize, crop, interpolation):
    image = picture(1, height, width)
    ours = apply_preprocess(image, Geometry(resize, crop, interpolation))
    theirs = of_torchvision(image, resize, crop, interpolation)
    assert ours.shape == theirs.shape == (3, crop, crop)
    assert ours.dtype == np.uint8
    # Our code rounds to 8 bits after the crop, torchvision before it; bicubic overshoots.
    assert np.abs(ours.astype(int) - theirs).max() <= (1 if interpolation == "bilinear" else 2)


def test_without_resize_only_the_centre_is_cut():
    image = picture(0, 24, 36)
    assert np.array_equal(apply_preprocess(image, Geometry(None, 16)), image[4:20, 10:26].transpose(2, 0, 1))


def test_an_image_smaller_than_the_crop_goes_on_by_its_border():
    image = picture(0, 5, 8)
    cut = apply_preprocess(image, Geometry(None, 8)).transpose(1, 2, 0)
    assert np.array_equal(cut[1:6], image)
    assert np.array_equal(cut[0], image[0])
    assert np.array_equal(cut[6:], np.stack([image[-1]] * 2))


def test_a_resize_smaller_than_the_crop():
    assert apply_preprocess(picture(0, 20, 40), Geometry(10, 16)).shape == (3, 16, 16)


def test_a_thin_panorama_does_not_become_gigabytes():
    image = picture(0, 1, 20_000)
    cut = apply_preprocess(image, Geometry(224, 224))
    assert np.abs(cut[:, 100, 100].astype(int) - image[0, 10_000]).max() <= 2


def test_a_large_jpeg_gives_nearly_the_same_when_decoded_smaller():
    raw = encoded(picture(3, 900, 1200), "JPEG", quality=95)
    geometry = Geometry(128, 112)
    full, scaled = apply_preprocess(decode(raw), geometry), apply_preprocess(decode(raw, 128), geometry)
    assert np.abs(full.astype(int) - scaled).mean() < 1


@pytest.mark.parametrize(("options", "apart"), [({}, 1), ({"subsampling": 0, "quality": 92}, 1)])
def test_a_jpeg_from_bytes_to_crop_is_as_torchvisions(options, apart):
    """Compared with the usual ImageFolder transforms, values differ by at most one level, and few do."""
    from io import BytesIO

    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    noise = np.random.default_rng(0).normal(0, 12, (375, 500, 3))
    raw = encoded((picture(4, 375, 500) + noise).clip(0, 255).astype(np.uint8), "JPEG", **options)
    theirs = Compose([Resize(256), CenterCrop(224), PILToTensor()])(Image.open(BytesIO(raw))).numpy()
    difference = np.abs(apply_preprocess(decode(raw, 256), Geometry(256, 224)).astype(int) - theirs)
    assert difference.max() <= apart
    assert difference.mean() < 0.01


def test_the_part_that_is_computed_alone_is_that_of_the_whole(monkeypatch):
    image = picture(5, 60, 410)  # so long that Pillow computes the crop alone
    alone = apply_preprocess(image, Geometry(48, 20))
    monkeypatch.setattr(preprocess_module, "MOSTLY_CROPPED", 10**6)
    whole = apply_preprocess(image, Geometry(48, 20))
    assert np.abs(alone.astype(int) - whole).max() <= 1


def test_the_image_is_left_as_it_was():
    image = picture(6, 40, 50)
    before = image.copy()
    apply_preprocess(image, Geometry(20, 16))
    assert np.array_equal(image, before)
