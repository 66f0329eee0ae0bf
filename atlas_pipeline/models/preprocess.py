"""A network's preprocessing. No torch, since configs and image workers read it too."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from atlas_pipeline.errors import ModelError, unknown_name

Interpolation = Literal["bilinear", "bicubic"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "bicubic")
Colour = tuple[float, float, float]
IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)
# Covers the different ImageNet and web means of Caffe, CLIP and others.
MEAN_TOLERANCE = 0.005
# Bounds for pixels in [0, 1], wide enough for networks that take [-1, 1], [0, 255] or [0.5, 1]. On a scale of
# 0 to 255, images have a std of 20 to 80, and a mean below 2 is black.
MIN_MEAN, MAX_MEAN, MAX_STD = -1.0, 2.0, 4.0
# Largest possible std of an image: half of its pixels are 0, half are 1.
MAX_IMAGE_STD = 0.5
# A network that takes 0 to 255 has std 1 / 255, equal for all channels; other scales may be finer.
MIN_STD = 1 / 256


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Resize, centre crop, then ``(x - mean) / std`` per channel for x in [0, 1].

    resize: shorter side in pixels; None keeps the size. crop: side of the square, in pixels. The defaults are
    torchvision's for ImageNet classifiers.
    """

    resize: int | None = 256
    crop: int = 224
    mean: Colour = IMAGENET_MEAN
    std: Colour = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"

    def override(self, values: Mapping[str, Any] | None, where: str = "preprocess") -> Preprocess:
        """A copy with some keys replaced.

        Raises: ModelError: an unknown key, an invalid value, or a value that would distort images: mean and
                std for pixels from 0 to 255, BGR, a crop larger than the resized image.
        """
        values = dict(values or {})
        known = [f.name for f in fields(self)]
        for key in values:
            if key not in known:
                raise ModelError(unknown_name("key", key, known, where))
        for key in ("mean", "std"):
            if key in values:
                values[key] = _three_numbers(values[key], f"{where}.{key}")
        for key in ("resize", "crop"):
            if key in values and not (key == "resize" and values[key] is None):
                values[key] = _pixels(values[key], f"{where}.{key}")
        if values.get("interpolation", "bilinear") not in INTERPOLATIONS:
            raise ModelError(unknown_name("interpolation", values["interpolation"], INTERPOLATIONS, where))
        if "std" in values and min(values["std"]) <= 0:
            raise ModelError(f"{where}.std must be above 0, got {list(values['std'])}")
        changed = replace(self, **values)
        if {"mean", "std"} & values.keys():
            _check_units(changed, where)
        changes_one_size = len({"resize", "crop"} & values.keys()) == 1
        if changes_one_size and changed.resize is not None and changed.crop > changed.resize:
            raise ModelError(
                f"{where}: crop {changed.crop} px is larger than resize {changed.resize} px, so the border "
                "would be padding; "
                f"set both, e.g. resize: {changed.crop}, crop: {changed.crop}"
            )
        return changed


def _three_numbers(value: Any, where: str) -> Colour:
    try:
        red, green, blue = (float(v) for v in value)
    except (TypeError, ValueError):
        one = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        remedy = f"; write {[one] * 3}" if isinstance(one, int | float) else ""
        raise ModelError(
            f"{where} must be three numbers, one a colour channel, got {value!r}{remedy}"
        ) from None
    if not all(map(math.isfinite, (red, green, blue))):
        raise ModelError(f"{where} must be three finite numbers, got {value!r}")
    return red, green, blue


def _pixels(value: Any, where: str) -> int:
    # operator.index accepts NumPy integers too.
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ModelError(f"{where} must be a number of pixels above 0, got {value!r}")
    return operator.index(value)


def _check_units(preprocess: Preprocess, where: str) -> None:
    """Raises: ModelError: mean or std are not for pixels in [0, 1], or are not in RGB order."""
    mean, std = preprocess.mean, preprocess.std
    is_mean_off = min(mean) < MIN_MEAN or max(mean) > MAX_MEAN
    is_std_off = max(std) > MAX_STD
    fitting_mean = _scaled(mean, 1 / 255) if is_mean_off else mean
    # Networks that only subtract a mean from 0 to 255 (Caffe's) have a std of 1 on that scale.
    is_std_unscaled = is_std_off or (is_mean_off and min(std) >= MAX_IMAGE_STD)
    fitting_std = _scaled(std, 1 / 255) if is_std_unscaled else std
    if all(abs(a - b) < MEAN_TOLERANCE for a, b in zip(fitting_mean, IMAGENET_MEAN[::-1], strict=True)):
        raise ModelError(
            f"{where}: mean {list(mean)} is ImageNet's in the order BGR, and images come as RGB; give "
            f"mean: {_rounded(fitting_mean[::-1])}, std: {_rounded(fitting_std[::-1])}, and let a network "
            "that takes BGR flip the channels itself: images.flip(1)"
        )
    black_white = f"black would become {-mean[0] / std[0]:.4g} and white {(1 - mean[0]) / std[0]:.4g}"
    if is_mean_off or is_std_off:
        is_on_255_scale = max(*fitting_mean, *fitting_std) <= 1
        fit = f"mean: {_rounded(fitting_mean)}, std: {_rounded(fitting_std)}"
        raise ModelError(
            f"{where}: mean {list(mean)} and std {list(std)} are not of pixels in [0, 1], as images are "
            f"here; {black_white}; "
            + (f"divide by 255: {fit}" if is_on_255_scale else "divide by the white of your images")
        )
    if min(std) < MIN_STD and len(set(std)) > 1:
        raise ModelError(
            f"{where}: std {list(std)} is too small for pixels in [0, 1]; {black_white}; "
            f"if it was divided by 255 twice: std: {_rounded(_scaled(std, 255))}"
        )


def _scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = colour
    return red * factor, green * factor, blue * factor


def _rounded(colour: Colour) -> list[float]:
    return [float(f"{value:.4g}") for value in colour]


def declared_preprocess(values: Mapping[str, Any], where: str) -> Preprocess:
    """Read the ``PREPROCESS`` mapping of a user's module; missing keys take torchvision's ImageNet defaults.

    A crop without a resize sets resize to the crop: the default 256 would cut out the centre of images for a
    32-pixel network.
    """
    values = dict(values)
    if "crop" in values:
        values.setdefault("resize", values["crop"])
    return Preprocess().override(values, where)
