"""Synthetic stimuli: lines, curves, corners that turn into curves; as strokes or filled, grey or coloured.

A stimulus is a shape at an orientation with a look. All shapes of a set are one family: an arc that turns by
some angle, continued by straight lines beyond the image. A turn of 0 is a line; a half turn is a curve; a
quarter turn with a radius of 0 is a right angle, which becomes a curve as its radius grows. The apex lies
on the point that a unit looks at, and lengths are in radii of the unit's field, so a shape has the same size
for units of every layer.

Orientations are counted counterclockwise as seen, in degrees: at 0 the hollow side is to the right, at 90 it
is above. Shapes are drawn with Pillow at eight times the size and averaged: it is a dependency already, and
its drawing needs no font, no state and no display.

Source: Cammarata et al., "Curve Detectors" (Distill 2020), for stimuli over orientation and curvature, and
for angles that become curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

# Drawn larger by this factor, then averaged.
_OVERSAMPLING = 8
_ARC_POINTS = 97
_TINY = 1e-9
# Straight ends reach beyond the image by this many sides.
_BEYOND = 3

Colour = tuple[float, float, float]

_DARK, _LIGHT = (0.2, 0.2, 0.2), (0.8, 0.8, 0.8)
_BLUE, _ORANGE = (0.15, 0.4, 0.8), (0.85, 0.5, 0.15)
#: Name, colour of the shape and of the ground, RGB in [0, 1].
INKS: tuple[tuple[str, Colour, Colour], ...] = (
    ("light on dark", _LIGHT, _DARK),
    ("dark on light", _DARK, _LIGHT),
    ("orange on blue", _ORANGE, _BLUE),
    ("blue on orange", _BLUE, _ORANGE),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """An arc with straight ends. turn: degrees between the ends. radius: of the arc, in field radii."""

    turn: float
    radius: float

    @property
    def name(self) -> str:
        """In words; a curve has its curvature, a corner the radius of its rounding."""
        if self.turn == 0:
            return "line"
        if self.turn == 180:
            return f"curve {1 / self.radius:g}"
        return f"corner {self.radius:g}" if self.radius else "corner"


@dataclass(frozen=True, slots=True)
class Look:
    """is_filled: the hollow side is filled; otherwise a stroke. ink: a name of `INKS`."""

    is_filled: bool
    ink: str

    @property
    def name(self) -> str:
        """In words."""
        return f"{'filled' if self.is_filled else 'stroke'}, {self.ink}"


@dataclass(frozen=True, slots=True)
class StimulusSet:
    """Every shape with every look at every orientation, in that order: orientation, shape, look.

    num_orientations: over the whole turn. curvatures: of curves, in 1 / field radii; 0 is a line.
    corner_radii: of right angles, in field radii. stroke_width: in field radii.

    >>> few = StimulusSet(num_orientations=8, curvatures=(0, 1), corner_radii=(0,), stroke_width=0.4)
    >>> len(few), [shape.name for shape in few.shapes]
    (192, ['line', 'curve 1', 'corner'])
    """

    num_orientations: int
    curvatures: Sequence[float]
    corner_radii: Sequence[float]
    stroke_width: float

    @property
    def shapes(self) -> list[Shape]:
        """Lines and curves by curvature, then corners by radius."""
        curves = [Shape(180, 1 / bend) if bend else Shape(0, 0) for bend in self.curvatures]
        return [*curves, *(Shape(90, radius) for radius in self.corner_radii)]

    @property
    def looks(self) -> list[Look]:
        """Strokes, then filled shapes, in every ink."""
        return [Look(is_filled, ink) for is_filled in (False, True) for ink, _, _ in INKS]

    @property
    def orientations(self) -> NDArray[np.float64]:
        """(orientation,) degrees."""
        return np.linspace(0, 360, self.num_orientations, endpoint=False, dtype=np.float64)

    def __len__(self) -> int:
        return self.num_orientations * len(self.shapes) * len(self.looks)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a stimulus. side_px: of the image. row, col: of the apex. radius: of the field, pixels.

    Pixel i reaches from i to i + 1.
    """

    side_px: int
    row: float
    col: float
    radius: float


def stimuli(of: StimulusSet, start: int, stop: int, place: Place) -> Iterator[NDArray[np.uint8]]:
    """The stimuli [start, stop) of a set, each (side, side, RGB) uint8.

    >>> few = StimulusSet(num_orientations=8, curvatures=(0,), corner_radii=(), stroke_width=0.5)
    >>> (first,) = stimuli(few, 0, 1, Place(side_px=32, row=16, col=16, radius=8))
    >>> first.shape, first[4, 16].tolist(), first[4, 4].tolist()  # a light line from top to bottom
    ((32, 32, 3), [204, 204, 204], [51, 51, 51])
    """
    shapes, looks, drawn = of.shapes, of.looks, (-1, False)
    coverage = np.empty(0)
    for number in range(start, stop):
        which, look = divmod(number, len(looks))
        if drawn != (which, looks[look].is_filled):
            # Looks that differ by their ink share one drawing.
            drawn = (which, looks[look].is_filled)
            turned, shape = divmod(which, len(shapes))
            coverage = _coverage(shapes[shape], of.orientations[turned], drawn[1], of.stroke_width, place)
        yield _inked(coverage, looks[look].ink)


def stimulus(
    shape: Shape, look: Look, orientation: float, stroke_width: float, place: Place
) -> NDArray[np.uint8]:
    """One stimulus at any orientation in degrees: (side, side, RGB) uint8."""
    return _inked(_coverage(shape, orientation, look.is_filled, stroke_width, place), look.ink)


def _inked(coverage: NDArray[np.float64], name: str) -> NDArray[np.uint8]:
    (ink, ground), *_ = [(ink, ground) for known, ink, ground in INKS if known == name]
    colours = np.asarray(ground) + coverage[..., None] * (np.asarray(ink) - np.asarray(ground))
    return np.rint(255 * colours).astype(np.uint8)


def _coverage(
    shape: Shape, orientation: float, is_filled: bool, stroke_width: float, place: Place
) -> NDArray[np.float64]:
    """(side, side) in [0, 1]: the share of each pixel that the shape covers."""
    side = place.side_px * _OVERSAMPLING
    picture = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(picture)
    # A stroke is the shape, grown by half its width, less the shape shrunk by as much.
    half_width = 0.0 if is_filled else stroke_width / 2
    draw.polygon(_corners(_region(shape, -half_width, place), orientation, place), fill=255)
    if not is_filled:
        draw.polygon(_corners(_region(shape, half_width, place), orientation, place), fill=0)
    return np.asarray(picture.reduce(_OVERSAMPLING), np.float64) / 255


def _corners(points: NDArray[np.float64], orientation: float, place: Place) -> list[float]:
    """Points along and across the orientation, in field radii, as x, y, x, y... for Pillow."""
    angle = np.deg2rad(orientation)
    along, across = points.T
    col = place.col + place.radius * (along * np.cos(angle) - across * np.sin(angle))
    row = place.row - place.radius * (along * np.sin(angle) + across * np.cos(angle))
    # Pillow's whole numbers are the middles of pixels.
    corners: list[float] = (np.stack([col, row], axis=1) * _OVERSAMPLING - 0.5).ravel().tolist()
    return corners


def _region(shape: Shape, inset: float, place: Place) -> NDArray[np.float64]:
    """The hollow side of a shape, its border moved inwards by ``inset`` field radii: (point, 2).

    Points are along and across the orientation, in field radii, and close beyond the image.
    """
    far = _BEYOND * place.side_px / place.radius
    half = np.deg2rad(shape.turn / 2)
    radius, apex = shape.radius - inset, inset
    if shape.turn and radius < 0:
        # No arc is left: the straight ends meet, those of a half turn beyond the image.
        radius, apex = 0.0, min(far, shape.radius + (inset - shape.radius) / max(np.cos(half), _TINY))
    steps = np.linspace(-half, half, _ARC_POINTS)
    arc = radius * np.stack([1 - np.cos(steps), np.sin(steps)], axis=1) if shape.turn else np.zeros((1, 2))
    arc[:, 0] += apex
    tangent = far * np.array([np.sin(half), np.cos(half)])
    last, first = arc[-1] + tangent, arc[0] + tangent * (1, -1)
    closing = (far, 0.0)
    return np.concatenate([[first + closing, first], arc, [last, last + closing]])
