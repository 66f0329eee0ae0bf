"""What a network wants of an image before it sees it. No torch: configs and image workers read it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from atlas_pipeline.errors import ModelError, unknown_name

Interpolation = Literal["bilinear", "bicubic"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "bicubic")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Resize, centre crop, then per channel ``(x - mean) / std`` of x in [0, 1].

    resize: shorter side in pixels, or None to leave the size alone. crop: side of the square, pixels.
    The defaults are torchvision's for ImageNet classifiers.
    """

    resize: int | None = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"

    def override(self, values: Mapping[str, Any] | None, where: str = "preprocess") -> Preprocess:
        """A copy with some keys replaced.

        Raises: ModelError: an unknown key, or a value that cannot be one.
        """
        values = dict(values or {})
        known = [f.name for f in fields(self)]
        for key in values:
            if key not in known:
                raise ModelError(unknown_name("key", key, known, where))
        for key in ("mean", "std"):
            if key in values:
                values[key] = _three(values[key], f"{where}.{key}")
        for key in ("resize", "crop"):
            if key in values and not (key == "resize" and values[key] is None):
                values[key] = _pixels(values[key], f"{where}.{key}")
        if values.get("interpolation", "bilinear") not in INTERPOLATIONS:
            raise ModelError(unknown_name("interpolation", values["interpolation"], INTERPOLATIONS, where))
        if "std" in values and min(values["std"]) <= 0:
            raise ModelError(f"{where}.std must be above 0, got {list(values['std'])}")
        return replace(self, **values)


def _three(value: Any, where: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(v) for v in value)
    except (TypeError, ValueError):
        raise ModelError(f"{where} must be three numbers, one a colour channel, got {value!r}") from None
    return red, green, blue


def _pixels(value: Any, where: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"{where} must be a number of pixels above 0, got {value!r}")
    return value


def declared_preprocess(values: Mapping[str, Any], where: str) -> Preprocess:
    """The ``PREPROCESS`` mapping of a user's module: what it leaves out is torchvision's ImageNet default.

    A crop without a resize resizes to the crop: the ImageNet default's 256 would cut out the middle of a
    32-pixel network's images.
    """
    values = dict(values)
    if "crop" in values:
        values.setdefault("resize", values["crop"])
    return Preprocess().override(values, where)
