"""Files of the pages of units and atoms: the page with its script and style, and numbers as scripts."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.unit_state import (
    HISTOGRAM_LOW,
    HISTOGRAM_STEP,
    NO_IMAGE,
    UnitState,
    range_of_bins,
    shares_of_ranges,
)
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.viewer.bundle import bundle
from atlas_pipeline.viewer.page_files import viewer_modules
from atlas_pipeline.viewer.scripts import picture, script

# Patches per row of a unit's sheet, icons per row of a sheet, and icons in a sheet of a layer's list.
SHEET_COLUMNS, ICON_COLUMNS, LISTED_ICONS = 9, 16, 256
# Side of an icon in a list, and of one at an end of a weight.
ICON_PX = 64
_SHARED = ("data.js", "page.js")
_STATIC, _ATOM_STATIC = "unit_static", "atom_static"
# Modules of the units' pages that atoms do not have: an atom has no weights of its own.
_OF_UNITS_ONLY = ("circuit_view.js",)


def unit_page_files(run: Mapping[str, Any]) -> dict[str, bytes]:
    """The page, its style, its script and the description of its layers, by name below the run's folder.

    Args: run: ``run``, ``model``, ``digest``, ``atlas`` (whether the viewer's page is there), and ``layers``.
    """
    words = {"a_unit": "a unit", "placeholder": "Unit or class, e.g. 447", "found": "Units found"}
    return _page_files("units", _scripts(_STATIC), _asset(_STATIC, "units.css"), run, words)


def atom_page_files(run: Mapping[str, Any]) -> dict[str, bytes]:
    """As `unit_page_files`, for the atoms of layers: the same page with other words and some modules more."""
    scripts = {**_scripts(_STATIC), **_scripts(_ATOM_STATIC)}
    for name in _OF_UNITS_ONLY:
        del scripts[name]
    words = {"a_unit": "an atom", "placeholder": "Atom or class, e.g. 12", "found": "Atoms found"}
    style = _asset(_STATIC, "units.css") + _asset(_ATOM_STATIC, "atoms.css")
    return _page_files("directions", scripts, style, run, words)


def _page_files(
    folder: str,
    scripts: Mapping[str, str],
    style: bytes,
    run: Mapping[str, Any],
    words: Mapping[str, str],
) -> dict[str, bytes]:
    shared = {name: code for name, code in viewer_modules().items() if name in _SHARED}
    files = {
        f"{folder}/{folder}.css": style,
        f"{folder}/{folder}.js": bundle({**shared, **scripts}, "begin.js").encode(),
        f"{folder}/run.js": script(run),
    }
    page = Template(_asset(_STATIC, "units.html").decode()).substitute(
        words,
        folder=folder,
        title=escape(f"{run['run']} · {folder}"),
        style=_address(files, f"{folder}/{folder}.css"),
        script=_address(files, f"{folder}/{folder}.js"),
        run=_address(files, f"{folder}/run.js"),
    )
    return {f"{folder}/index.html": page.encode(), **files}


def _scripts(folder: str) -> dict[str, str]:
    """The modules of a folder, by name."""
    names = sorted(file.name for file in resources.files(__package__).joinpath(folder).iterdir())
    return {name: _asset(folder, name).decode() for name in names if name.endswith(".js")}


def _asset(folder: str, name: str) -> bytes:
    return resources.files(__package__).joinpath(folder, name).read_bytes()


def _address(files: Mapping[str, bytes], path: str) -> str:
    return f"./{path.rpartition('/')[2]}?{hashlib.sha256(files[path]).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScaleOf:
    """The scale of a unit's ranges: mean and deviation of the first look, and the borders between ranges."""

    mean: float
    sd: float
    ranges: Sequence[float]
    is_before_relu: bool


def dead_words(state: UnitState, unit: int, is_before_relu: bool) -> str:
    """The line that says that a unit is dead; "" for a unit that is not.

    A unit is dead if it never varies, or if its ReLU never lets anything through.
    """
    num_images, most = int(state.num_images[unit]), float(state.top_value[unit, 0])
    if num_images and state.least[unit] == most:
        return f"This unit is dead: it has the value {most:.4g} at every position of {num_images:,} images."
    if num_images and is_before_relu and most <= 0:
        return (
            f"This unit is dead: it never fires in {num_images:,} images. Its largest value before the ReLU "
            f"is {most:.4g}."
        )
    return ""


def unit_numbers(state: UnitState, unit: int, scale: UnitScaleOf) -> dict[str, Any]:
    """The numbers of a unit for its page.

    ``positions`` and ``shares`` are shares of all positions and of the expected activation, by range.
    """
    counts = state.counts[unit]
    num_positions = int(counts.sum())
    mean = state.total[unit] / max(1, num_positions)
    sd = math.sqrt(max(0.0, state.squares[unit] / max(1, num_positions) - mean**2))
    filled = np.flatnonzero(counts)
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
    which = range_of_bins(scale.ranges)
    return {
        "unit": unit,
        "dead": dead_words(state, unit, scale.is_before_relu),
        "beforeRelu": scale.is_before_relu,
        "images": int(state.num_images[unit]),
        "firing": _rounded(state.num_firing[unit] / max(1, state.num_images[unit])),
        "positive": _rounded(state.num_positive[unit] / max(1, num_positions)),
        "mean": _rounded(mean),
        "sd": _rounded(sd),
        "least": _rounded(state.least[unit]),
        "most": _rounded(state.top_value[unit, 0]),
        "scale": [_rounded(scale.mean), _rounded(scale.sd)],
        # The first bin begins at `low`; the outermost two hold everything beyond.
        "histogram": {
            "low": HISTOGRAM_LOW + (first - 1) * HISTOGRAM_STEP,
            "step": HISTOGRAM_STEP,
            "counts": counts[first : last + 1].tolist(),
        },
        "borders": list(scale.ranges),
        "positions": [
            _rounded(counts[which == number].sum() / max(1, num_positions))
            for number in range(len(scale.ranges) + 1)
        ],
        "shares": [_rounded(one) for one in shares_of_ranges(state.sums[unit : unit + 1], scale.ranges)[0]],
    }


def unit_examples(
    state: UnitState,
    unit: int,
    marks: NDArray[np.float32],
    origin: Mapping[int, Sequence[str]],
) -> dict[str, Any]:
    """The examples of a unit: ``top``, and ``ranges`` from the lowest, as [slot, value, key, label, x, y].

    Args: marks: (example, 2), down and right, in shares of the patch. origin: image id -> key and label.
    """

    def listed(images: NDArray, values: NDArray, first: int) -> list[list[Any]]:
        return [
            [
                first + at,
                _rounded(value),
                *origin[int(image)],
                *(_rounded(one) for one in marks[first + at][::-1]),
            ]
            for at, (image, value) in enumerate(zip(images, values, strict=True))
            if image != NO_IMAGE
        ]

    num_top, per_range = state.top_image.shape[1], state.range_image.shape[2]
    return {
        "top": listed(state.top_image[unit], state.top_value[unit], 0),
        "ranges": [
            listed(images, values, num_top + number * per_range)
            for number, (images, values) in enumerate(
                zip(state.range_image[unit], state.range_value[unit], strict=True)
            )
        ],
    }


def sheet_of(pictures: NDArray[np.uint8], columns: int = ICON_COLUMNS) -> dict[str, Any]:
    """Square pictures (picture, px, px, 3) uint8 as one, for a script: ``px``, ``columns``, ``picture``."""
    return {"px": pictures.shape[1], "columns": columns, "picture": picture(in_rows(pictures, columns))}


def in_rows(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Square pictures (picture, px, px, 3) uint8 as one picture, so many in a row."""
    num, px = pictures.shape[:2]
    rows = -(-num // columns)
    filled = np.full((rows * columns, px, px, 3), PAPER, np.uint8)
    filled[:num] = pictures
    whole = filled.reshape(rows, columns, px, px, 3).transpose(0, 2, 1, 3, 4)
    return whole.reshape(rows * px, columns * px, 3)


def strongest_classes(attribution: NDArray[np.float32], num: int, sign: int = 1) -> list[tuple[int, float]]:
    """The classes with the largest (sign -1: the least) attribution, and its value, without the wrong sign.

    Args: attribution: (class,).
    """
    order = np.argsort(-sign * attribution, kind="stable")[:num]
    return [(int(one), _rounded(attribution[one]) or 0.0) for one in order if sign * attribution[one] > 0]


def weight_rows(rows: Iterable[Mapping[str, Any]], slots: Mapping[tuple[str, int], int]) -> list[list[Any]]:
    """Weights as [unit, strength, net, rows, kernel, slot]; slot: of its icon in the sheet, -1 without one.

    Args: rows: of the table of ``unit_weights``.
    """
    return [
        [
            row["other_unit"],
            _rounded(row["strength"]),
            _rounded(row["net"]),
            row["rows"],
            [float(f"{value:.3g}") for value in row["kernel"]],
            slots.get((row["other_layer"], row["other_unit"]), -1),
        ]
        for row in rows
    ]


def base64_of(content: bytes) -> str:
    """Bytes as base64 text, for a script."""
    return base64.b64encode(content).decode("ascii")


def list_file(layer: str, units: Iterable[Mapping[str, Any]], **facts: Any) -> bytes:
    """The list of a layer's units, a script: for each its number, whether it is dead, and its classes."""
    return script({"layer": layer, "units": [dict(unit) for unit in units], **facts})


def _rounded(value: Any) -> float | None:
    """Six digits; None for a number that is not finite."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else None
