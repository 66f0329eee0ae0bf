"""Shapes as signed distances, positive inside, in units of the shape's radius. Some have two regions.

A shape takes coordinates (u, v) in units of its radius, v downwards, and returns one field per region.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from atlas_pipeline.images.generated.fields import Field, fold

Shape = Callable[[Field, Field], tuple[Field, ...]]


def _box(u: Field, v: Field, left: float, top: float, right: float, bottom: float) -> Field:
    return np.minimum(np.minimum(u - left, right - u), np.minimum(v - top, bottom - v)).astype(np.float32)


def disk(u: Field, v: Field) -> tuple[Field, ...]:
    return (1 - np.hypot(u, v),)


def square(u: Field, v: Field) -> tuple[Field, ...]:
    return (_box(u, v, -0.87, -0.87, 0.87, 0.87),)


def triangle(u: Field, v: Field) -> tuple[Field, ...]:
    slanted = np.float32(np.sqrt(3) / 2) * np.abs(u) - v / 2
    return (np.float32(0.6) - np.maximum(slanted, v),)


def star(u: Field, v: Field) -> tuple[Field, ...]:
    # Folded into one of ten equal wedges, a star is one straight edge from tip (1.3) to notch (0.62).
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    wedge = fold(angle, 2 * np.pi / 5)
    along, aside = radius * np.cos(wedge), radius * np.sin(wedge)
    tip, notch = 1.3, 0.62 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    normal = np.array([notch[1], tip - notch[0]]) / np.hypot(notch[1], tip - notch[0])
    to_edge = np.float32(normal[0] * tip) - along * np.float32(normal[0]) - aside * np.float32(normal[1])
    return (to_edge.astype(np.float32, copy=False),)


def ring(u: Field, v: Field) -> tuple[Field, ...]:
    return (np.float32(0.34) - np.abs(np.hypot(u, v) - np.float32(0.78)),)


def cross(u: Field, v: Field) -> tuple[Field, ...]:
    u, v = np.abs(u), np.abs(v)
    return (np.minimum(np.float32(0.42) - np.minimum(u, v), 1 - np.maximum(u, v)),)


def heart(u: Field, v: Field) -> tuple[Field, ...]:
    u, v = np.abs(u), v + np.float32(0.15)
    lobe = np.float32(0.53) - np.hypot(u - np.float32(0.5), v + np.float32(0.3))
    # Below the lobes, two straight sides that touch them and meet in a point.
    side = (np.float32(1.22) - u - v) * np.float32(np.sqrt(0.5))
    diamond = np.minimum(side, (v - u + np.float32(0.42)) * np.float32(np.sqrt(0.5)))
    return (np.maximum(lobe, diamond),)


def moon(u: Field, v: Field) -> tuple[Field, ...]:
    bite = np.hypot(u - np.float32(0.72), v) - np.float32(0.72)
    return (np.minimum(np.float32(1.1) - np.hypot(u, v), bite),)


def house(u: Field, v: Field) -> tuple[Field, ...]:
    walls = _box(u, v, -0.8, -0.15, 0.8, 0.95)
    slope = (np.float32(1.0) - np.abs(u) * np.float32(0.95) + v) * np.float32(0.72)
    return walls, np.minimum(slope + np.float32(0.05), np.float32(-0.1) - v)


def tram(u: Field, v: Field) -> tuple[Field, ...]:
    upper = _box(u, v, -1.25, -0.75, 1.25, 0.1)
    lower = _box(u, v, -1.25, 0.05, 1.25, 0.62)
    wheels = np.float32(0.24) - np.hypot(np.abs(u) - np.float32(0.7), v - np.float32(0.62))
    return upper, np.maximum(lower, wheels)


def tree(u: Field, v: Field) -> tuple[Field, ...]:
    trunk = _box(u, v, -0.27, 0.1, 0.27, 1.1)
    crown = np.float32(0.56) - np.hypot(u, v + np.float32(0.62))
    sides = np.float32(0.55) - np.hypot(np.abs(u) - np.float32(0.5), v + np.float32(0.1))
    return trunk, np.maximum(crown, sides)


def mushroom(u: Field, v: Field) -> tuple[Field, ...]:
    stem = _box(u, v, -0.32, -0.1, 0.32, 0.95)
    cap = np.minimum(1 - np.hypot(u, (v - np.float32(0.05)) * np.float32(1.1)), np.float32(0.05) - v)
    return stem, cap


def fish(u: Field, v: Field) -> tuple[Field, ...]:
    tail = np.minimum((u - np.float32(0.45)) - np.abs(v) * np.float32(0.9), np.float32(1.25) - u)
    body = np.float32(0.85) - np.hypot(u + np.float32(0.25), v * np.float32(1.35))
    return tail, body


def balloon(u: Field, v: Field) -> tuple[Field, ...]:
    basket = _box(u, v, -0.3, 0.62, 0.3, 1.12)
    envelope = np.float32(0.86) - np.hypot(u, v + np.float32(0.28))
    return basket, envelope


#: Shapes at any rotation; the others stand upright.
PLAIN_SHAPES: dict[str, Shape] = {
    shape.__name__: shape for shape in (disk, square, triangle, star, ring, cross, heart, moon)
}
OBJECTS: dict[str, Shape] = {shape.__name__: shape for shape in (house, tram, tree, mushroom, fish, balloon)}
SHAPES = PLAIN_SHAPES | OBJECTS
