"""The config that `atlas init` writes: chosen values, each with its reason as a comment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from atlas_pipeline.engine.run_progress import about
from atlas_pipeline.errors import counted
from atlas_pipeline.inversion.settings import InversionSettings
from atlas_pipeline.numerics.grid import fitting_grid
from atlas_pipeline.runs.init_facts import ImagesFacts, NetworkFacts

# Fewest activations of a cell: the article's number, or less for few activations.
_MIN_COUNT, _MIN_COUNT_OF_FEW, _FEW = 10, 4, 1000
# The article's grids, each twice as fine as the one before.
_GRIDS = (20, 40, 80, 160)
_MOST_GRIDS_ON_CPU = 1
_COMMENTS_AT = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Numbers that follow from the number of images."""

    positions: int
    num_activations: int
    sizes: tuple[int, ...]
    min_count: int


def plan_for(num_images: int, positions: int, *, has_gpu: bool) -> Plan:
    """Grids and least count.

    Args: positions: of an image. has_gpu: else one grid only, as icons take minutes.

    >>> plan_for(300, 4, has_gpu=False)
    Plan(positions=4, num_activations=1200, sizes=(10,), min_count=10)
    >>> plan_for(100_000, 1, has_gpu=True).sizes
    (20, 40, 80)
    """
    num_activations = num_images * positions
    min_count = _MIN_COUNT if num_activations >= _FEW else _MIN_COUNT_OF_FEW
    finest = fitting_grid(num_activations, min_count)
    sizes = tuple(size for size in _GRIDS if size <= finest) or (finest,)
    return Plan(
        positions=positions,
        num_activations=num_activations,
        sizes=sizes if has_gpu else sizes[:_MOST_GRIDS_ON_CPU],
        min_count=min_count,
    )


def config_text(
    name: str, model: Mapping[str, Any], images: ImagesFacts, network: NetworkFacts, plan: Plan, file: str
) -> str:
    """The commented YAML of a run. model: the section ``model``. file: the config's own path."""
    found = images.path or images.source
    lines = [
        f"# Activation atlases of {network.title},",
        f"# on {counted(images.num_images, 'image')} ({found}). Every key: docs/config.md",
        f"#   atlas check {file}    # tests the network on six images",
        f"#   atlas run {file}      # {cost_words(images, network, plan)}",
        f"#   atlas view {file}",
        _line("name", name, f"the run's folder is data/runs/{name}", depth=0),
        "model:",
        *(_line(key, value) for key, value in model.items()),
        "images:",
        _line("source", images.source),
    ]
    if images.path is not None:
        classes = f", {images.num_classes} classes" if images.num_classes else ", without labels"
        lines.append(_line("path", images.path, f"{counted(images.num_images, 'image')}{classes}"))
    lines += [
        f"# From early to late. The {network.num_ends} ends of blocks: atlas layers {file}",
        "layers:",
    ]
    for info in network.layers:
        sees = "sees the whole image" if info.sees_whole_image else f"sees {info.receptive_field_px} px"
        what = f"{info.num_channels} channels, {info.height} x {info.width} positions, {sees}"
        lines.append(_commented(f"  - {_scalar(info.name)}", what))
    few = f"{counted(images.num_images, 'image')} give few activations" if plan.positions > 1 else ""
    lines += [
        "sample:",
        _line("positions_per_image", plan.positions, few),
        _line("attribution", "all" if network.attribution else "none", network.words),
    ]
    if plan.num_activations <= _FEW:
        lines += [
            "project:",
            _line("num_neighbors", _neighbors(plan), "fewer than usual, for few activations"),
        ]
    lines += [
        "grid:",
        _line("sizes", list(plan.sizes), "finer ones later: the icons of these grids stay"),
        _line(
            "min_count", plan.min_count, f"of {plan.num_activations:,} activations; fewer make a noisy mean"
        ),
        "invert:",
        _line("size_px", network.size_px, "side of an icon and of the network's input"),
    ]
    return "\n".join(lines) + "\n"


def _neighbors(plan: Plan) -> int:
    return max(2, min(15, plan.num_activations // 10))


def cost_words(images: ImagesFacts, network: NetworkFacts, plan: Plan) -> str:
    """The time that a run takes on this machine's CPU, from the measured parts."""
    filled = min(plan.sizes[-1] ** 2 / 2, plan.num_activations / plan.min_count)
    icons_s = filled * len(network.layers) * InversionSettings().steps * network.icon_step_s
    samples_s = images.num_images * (network.image_s or 0.0)
    return f"on this CPU about {about(icons_s + samples_s)} for samples and icons"


def _line(key: str, value: Any, comment: str = "", depth: int = 1) -> str:
    return _commented(f"{'  ' * depth}{key}: {_scalar(value)}", comment)


def _commented(text: str, comment: str) -> str:
    return f"{text.ljust(_COMMENTS_AT)}  # {comment}" if comment else text


def _scalar(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
