"""The classes: a shape, the texture of each of its regions, and the texture of its background.

No texture determines the class, since each occurs in two classes or more. Nor do two textures: `stripes` on
`sand` is a disk or a star, and `sand` on `stripes` is a cross. A network therefore needs textures, shapes,
and the order of foreground and background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from atlas_pipeline.images.generated import lattices, organic
from atlas_pipeline.images.generated.fields import Field

Texture = Callable[[np.random.Generator], Field]

TEXTURES: dict[str, Texture] = {
    "stripes": lattices.stripes,
    "waves": lattices.waves,
    "zigzag": lattices.zigzag,
    "dots": lattices.dots,
    "rings": lattices.rings,
    "checks": lattices.checks,
    "bricks": lattices.bricks,
    "grid": lattices.grid,
    "plaid": lattices.plaid,
    "hexagons": lattices.hexagons,
    "triangles": lattices.triangles,
    "weave": lattices.weave,
    "scales": lattices.scales,
    "pluses": lattices.pluses,
    "flowers": lattices.flowers,
    "windows": lattices.windows,
    "leaves": organic.leaves,
    "spots": organic.spots,
    "maze": organic.maze,
    "sand": organic.sand,
    "sky": organic.sky,
    "wood": organic.wood,
    "bubbles": organic.bubbles,
    "rays": organic.rays,
    "cracks": organic.cracks,
}
# Part names by id. A pixel's part is the texture that covers it, or the outline of a shape, which has one
# plain colour.
PART_NAMES = (*TEXTURES, "outline")
OUTLINE = PART_NAMES.index("outline")


@dataclass(frozen=True, slots=True)
class PartClass:
    """One class: `surfaces` holds a texture for each region of the shape."""

    name: str
    shape: str
    surfaces: tuple[str, ...]
    background: str

    @property
    def textures(self) -> tuple[str, ...]:
        """The textures of the surfaces and the background."""
        return (*self.surfaces, self.background)


def _plain(shape: str, surface: str, background: str) -> PartClass:
    return PartClass(f"{surface} {shape} on {background}", shape, (surface,), background)


CLASSES = (
    _plain("disk", "stripes", "sand"),
    _plain("disk", "bricks", "leaves"),
    _plain("disk", "flowers", "plaid"),
    _plain("star", "stripes", "sand"),
    _plain("star", "bricks", "leaves"),
    _plain("star", "cracks", "sky"),
    _plain("square", "dots", "waves"),
    _plain("square", "zigzag", "bubbles"),
    _plain("square", "plaid", "maze"),
    _plain("triangle", "bubbles", "zigzag"),
    _plain("triangle", "leaves", "grid"),
    _plain("triangle", "grid", "flowers"),
    _plain("ring", "dots", "waves"),
    _plain("ring", "hexagons", "rays"),
    _plain("ring", "wood", "spots"),
    _plain("cross", "rays", "hexagons"),
    _plain("cross", "pluses", "rings"),
    _plain("cross", "sand", "stripes"),
    _plain("heart", "scales", "checks"),
    _plain("heart", "rings", "weave"),
    _plain("heart", "waves", "dots"),
    _plain("moon", "scales", "checks"),
    _plain("moon", "maze", "triangles"),
    _plain("moon", "spots", "wood"),
    PartClass("house", "house", ("windows", "scales"), "sky"),
    PartClass("tram", "tram", ("windows", "checks"), "pluses"),
    PartClass("tree", "tree", ("wood", "leaves"), "sky"),
    PartClass("mushroom", "mushroom", ("waves", "dots"), "cracks"),
    PartClass("fish", "fish", ("rays", "scales"), "bubbles"),
    PartClass("balloon", "balloon", ("weave", "triangles"), "sky"),
)
CLASS_NAMES = tuple(part_class.name for part_class in CLASSES)
