"""Preprocessing values on the wrong scale are refused, and the error names values that fit."""

import numpy as np
import pytest

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.preprocess import Preprocess, declared_preprocess
from atlas_pipeline.models.spec import ModelSpec

OF_255 = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
FIT = "mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"


def test_overrides():
    assert Preprocess().override({"crop": 32, "mean": [0, 0, 0]}).mean == (0.0, 0.0, 0.0)
    assert Preprocess().override({"resize": None}).resize is None
    assert Preprocess().override({"crop": np.int64(32), "mean": np.full(3, 0.5)}).crop == 32


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0, 0, 0), (1, 1, 1)),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ((0.43, 0.411, 0.296), (0.213, 0.156, 0.143)),
        ((-1, -1, -1), (2, 2, 2)),
        ((0.1307, 0.1307, 0.1307), (0.3081, 0.3081, 0.3081)),
        # Pixels scaled 0 to 255 (InceptionV1, torchvision's VGG), and 16-bit pixels.
        ((117 / 255,) * 3, (1 / 255,) * 3),
        ((0.48235, 0.45882, 0.40784), (1 / 255,) * 3),
        ((0, 0, 0), (1 / 65535,) * 3),
    ],
)
def test_scales_of_real_networks_are_taken(mean, std):
    assert Preprocess().override({"mean": mean, "std": std}).std == tuple(map(float, std))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (OF_255, FIT),
        ({"mean": OF_255["mean"]}, FIT),
        ({"std": OF_255["std"]}, FIT),
        ({"mean": (127.5,) * 3, "std": (127.5,) * 3}, "mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]"),
        ({"mean": (0, 0, 0), "std": (255,) * 3}, "mean: [0.0, 0.0, 0.0], std: [1.0, 1.0, 1.0]"),
        ({"mean": (123.68, 116.779, 103.939), "std": (1, 1, 1)}, "std: [0.003922, 0.003922, 0.003922]"),
        ({"mean": (30000,) * 3, "std": (10000,) * 3}, "divide by the white of your images"),
        (
            {"mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395)},
            f"order BGR, and images come as RGB; give {FIT}",
        ),
        ({"mean": (104, 117, 123), "std": (1, 1, 1)}, "order BGR"),
        ({"mean": (0.406, 0.456, 0.485)}, "order BGR"),
        (
            {"std": (0.229 / 255, 0.224 / 255, 0.225 / 255)},
            "divided by 255 twice: std: [0.229, 0.224, 0.225]",
        ),
        ({"mean": 0.5}, "three numbers, one a colour channel, got 0.5; write [0.5, 0.5, 0.5]"),
        ({"mean": [0.5]}, "write [0.5, 0.5, 0.5]"),
        ({"mean": (float("nan"), 0, 0)}, "three finite numbers"),
        ({"std": [0, 1, 1]}, "std must be above 0"),
        ({"std": [-1, 1, 1]}, "std must be above 0"),
        ({"croop": 1}, "nearest: 'crop'"),
        ({"crop": 0}, "above 0"),
        ({"crop": None}, "above 0"),
        ({"crop": (224, 224)}, "must be a number of pixels"),
        ({"crop": True}, "must be a number of pixels"),
        ({"crop": 299}, "crop 299 px is larger than resize 256 px"),
        ({"resize": 200}, "set both, e.g. resize: 224, crop: 224"),
        ({"interpolation": "cubic"}, "nearest: 'bicubic'"),
    ],
)
def test_values_that_cannot_be_meant(values, message):
    with pytest.raises(ModelError) as caught:
        Preprocess().override(values, "model.preprocess")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_crop_beyond_the_resize_may_be_asked_for():
    """timm's volo resizes to 389 and crops 448."""
    assert Preprocess().override({"resize": 389, "crop": 448}).crop == 448


def test_a_modules_own_preprocess_and_a_configs_are_checked_alike():
    with pytest.raises(ModelError) as caught:
        declared_preprocess(OF_255, "PREPROCESS of 'net.py'")
    assert str(caught.value).startswith("PREPROCESS of 'net.py': mean [123.675, 116.28, 103.53]")
    assert FIT in str(caught.value)
    with pytest.raises(ModelError, match=r"^model.preprocess: mean \[123.675"):
        model_identity(ModelSpec(source="demo", preprocess=OF_255))
