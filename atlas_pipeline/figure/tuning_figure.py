"""The figure of a family of units: members, joint tuning, curvature, and real patches beside stimuli.

O = orientation of the stimuli, over the whole turn. Lengths are in mm, curves in standard deviations of the
unit over the data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.figure.lettering import fitted, wrapped
from atlas_pipeline.figure.page import FAINT, GREY, INK, MUTED, PAPER, Page, own_style
from atlas_pipeline.pictures.colours import density_colours, srgb_from_oklch

Curves = NDArray[np.float64]
Picture = NDArray[np.uint8]

WIDTH, MARGIN, DPI = 180.0, 6.0, 200
NUM_TURNS = 8
_POINTS, _GAP = 6.5, 3.0
# Members side by side. Then the top of their first row, and heights: of a row of pictures with its heading,
# of the radial curves with their labels, of the joint tuning.
_ACROSS, _MEMBER_TOP, _PICTURES, _CURVES, _MIDDLE = 12, 18.0, 16.0, 26.0, 60.0
# The colour of real patches; stimuli are drawn in ink.
_REAL = "#c2410c"


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFigure:
    """All that the figure of a family shows.

    title, caption: its words. stimulus: the family's best shape and look, in words. period: degrees.
    names, orientation: of the members, in the order of their orientation.
    shown: the members that are shown one by one, at most 12, by their place in that order.
    pictures: rows of pictures (side, side, 3) of the members shown, or None, by the row's heading.
    curves: (member, O), responses to the family's best stimulus. joint: (O,), their mean, each turned to 0.
    shapes: names. shape_pictures: one a shape. by_shape: (shape, O), the joint map in the best look.
    real: (member, O), mean responses to the real patches of the other members; None: there are none.
    real_joint: (O,), their mean, each turned to 0. correlation: of real and curves. num_patches: real ones.
    turned_patches, turned_stimuli: pictures at `NUM_TURNS` orientations from 0 on.
    """

    title: str
    caption: str
    stimulus: str
    period: int
    names: Sequence[str]
    orientation: Sequence[float]
    shown: Sequence[int]
    pictures: Mapping[str, Sequence[Picture | None]]
    curves: Curves
    joint: Curves
    shapes: Sequence[str]
    shape_pictures: Sequence[Picture]
    by_shape: Curves
    real: Curves | None
    real_joint: Curves | None
    correlation: float
    num_patches: int
    turned_patches: Sequence[Picture]
    turned_stimuli: Sequence[Picture]


def family_png(figure: FamilyFigure, metadata: Mapping[str, Any]) -> bytes:
    """The figure as a PNG file. metadata: see `page.Page.save`."""
    with own_style():
        lines = wrapped(figure.caption, _POINTS, WIDTH - 2 * MARGIN)
        middle = _MEMBER_TOP + _PICTURES * len(figure.pictures) + _CURVES
        foot = middle + _MIDDLE
        page = Page(WIDTH, foot + 56 + 3.2 * len(lines), DPI)
        page.text(MARGIN, 9, fitted(figure.title, 10, WIDTH - 2 * MARGIN, bold=True), 10, bold=True)
        page.text(MARGIN, 14, f"Best stimulus of the family: {figure.stimulus}", 7, colour=MUTED)
        _members(page, figure)
        _joint(page, figure, middle, MARGIN, 52.0)
        _shapes(page, figure, middle, MARGIN + 58, 56.0)
        _turned(page, figure, middle, MARGIN + 120, WIDTH - MARGIN)
        _all_curves(page, figure, foot)
        for number, line in enumerate(lines):
            page.text(MARGIN, foot + 52 + 3.2 * number, line, _POINTS, colour=MUTED)
        return page.content("png", metadata)


def _colour(angle: float, period: int) -> str:
    red, green, blue = srgb_from_oklch(0.62, 0.15, 360 * angle / period + 20).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _polar(radii: Curves, x: float, y: float, size: float, most: float) -> Curves:
    """A closed line (O + 1, 2) around a point; values below 0 lie on it."""
    angle = np.linspace(0, 2 * np.pi, len(radii) + 1)
    length = size * np.clip(np.append(radii, radii[0]), 0, None) / most
    return np.stack([x + length * np.cos(angle), y - length * np.sin(angle)], axis=1)


def _path(page: Page, points: Curves, colour: str, width: float) -> None:
    page.lines(np.stack([points[:-1], points[1:]], axis=1), colour=colour, points=width)


def _ring(page: Page, x: float, y: float, size: float) -> None:
    _path(page, _polar(np.ones(72), x, y, size, 1.0), FAINT, 0.4)


def _disc(picture: Picture) -> Picture:
    """A square picture, white outside the disc that fits into any turn of it."""
    side = picture.shape[0]
    place = np.arange(side) + 0.5 - side / 2
    inside = np.hypot(place[:, None], place[None, :]) <= side / 2
    return np.where(inside[..., None], picture, np.uint8(255)).astype(np.uint8)


def _members(page: Page, figure: FamilyFigure) -> None:
    step = (WIDTH - 2 * MARGIN) / _ACROSS
    size = (step - 2) / 2
    top = _MEMBER_TOP
    for words, pictures in figure.pictures.items():
        page.text(MARGIN, top + 1, fitted(words, 6, WIDTH - 2 * MARGIN), 6, colour=MUTED)
        for at, picture in enumerate(pictures):
            x = MARGIN + step * (at + 0.5)
            if picture is not None:
                page.picture(_disc(picture), x - size, top + 2.5, 2 * size, 2 * size)
        top += _PICTURES
    for at, member in enumerate(figure.shown):
        x, y = MARGIN + step * (at + 0.5), top + size + 1
        colour = _colour(figure.orientation[member], figure.period)
        _ring(page, x, y, size)
        curve = figure.curves[member]
        _path(page, _polar(curve, x, y, size, max(curve.max(), 1e-9)), colour, 1.2)
        page.text(x, y + 10.5, figure.names[member], _POINTS, bold=True, align="center")
        degrees = f"{round(figure.orientation[member]) % figure.period}°"
        page.text(x, y + 13.5, degrees, _POINTS, colour=MUTED, align="center")
    if len(figure.shown) < len(figure.names):
        page.text(
            WIDTH - MARGIN, 14, f"{len(figure.shown)} of {len(figure.names)} members", 7, colour=MUTED,
            align="right",
        )  # fmt: skip


def _head(page: Page, x: float, y: float, words: str, room: float) -> None:
    page.text(x, y, fitted(words, 7.5, room, bold=True), 7.5, bold=True)


def _joint(page: Page, figure: FamilyFigure, top: float, left: float, room: float) -> None:
    """Every member's radial tuning curve turned to 0, and their mean; each to its own peak."""
    _head(page, left, top, "Joint tuning curve", room)
    x, y, size = left + room / 2, top + 28, 21.0
    num = figure.curves.shape[1]
    turned = [
        np.roll(curve, -round(angle * num / 360))
        for curve, angle in zip(figure.curves, figure.orientation, strict=True)
    ]
    _ring(page, x, y, size)
    for curve, angle in zip(turned, figure.orientation, strict=True):
        peak = max(float(curve.max()), 1e-9)
        _path(page, _polar(curve, x, y, size, peak), _colour(angle, figure.period), 0.5)
    most = max(float(figure.joint.max()), 1e-9)
    _path(page, _polar(figure.joint, x, y, size, most), INK, 1.8)
    page.text(x + size + 1, y + 1, "0°", 6, colour=GREY)
    words = f"each turned to 0°; the mean peaks at {most:.1f} sd"
    page.text(x, y + size + 3.5, words, 6, colour=MUTED, align="center")


def _shapes(page: Page, figure: FamilyFigure, top: float, left: float, room: float) -> None:
    """The joint map: shapes down, orientation across, 0 in the middle."""
    _head(page, left, top, "Shapes by orientation, joint map", room)
    num_shapes, num = figure.by_shape.shape
    high = min(5.0, 44.0 / num_shapes)
    low, most = float(figure.by_shape.min()), float(figure.by_shape.max())
    amount = (figure.by_shape - low) / max(most - low, 1e-9)
    shifted = np.roll(amount, num // 2, axis=1)
    grid_left, grid_top = left + 17, top + 3
    wide = room - 17
    page.picture(density_colours(shifted), grid_left, grid_top, wide, high * num_shapes)
    for number, (name, picture) in enumerate(zip(figure.shapes, figure.shape_pictures, strict=True)):
        y = grid_top + high * number
        page.picture(picture, grid_left - high - 0.6, y + 0.2, high - 0.4, high - 0.4)
        page.text(grid_left - high - 1.4, y + high / 2 + 0.8, name, 5.5, colour=MUTED, align="right")
    foot = grid_top + high * num_shapes + 3
    for words, at, align in (("-180°", 0.0, "left"), ("0°", 0.5, "center"), ("180°", 1.0, "right")):
        page.text(grid_left + wide * at, foot, words, 6, colour=GREY, align=align)
    page.text(grid_left, foot + 3.5, f"white {low:.1f} sd, dark {most:.1f} sd", 6, colour=MUTED)


def _turned(page: Page, figure: FamilyFigure, top: float, left: float, right: float) -> None:
    """Stimulus and real patch turned alike, and the mean responses to both."""
    words = "Turned stimuli and real patches"
    _head(page, left, top, words, right - left)
    step = (right - left) / NUM_TURNS
    for row, pictures in enumerate((figure.turned_stimuli, figure.turned_patches)):
        for number, picture in enumerate(pictures):
            y = top + 3 + row * (step + 0.3)
            page.picture(_disc(picture), left + step * number + 0.2, y, step - 0.4, step - 0.4)
    top += 2 * step + 8
    curves = [(figure.joint, INK)]
    if figure.real_joint is not None:
        curves.append((figure.real_joint, _REAL))
    _chart(page, left, top, right - left, 22, curves)
    page.text(left, top + 29.5, "stimuli", 6.5, bold=True)
    if figure.real_joint is None:
        page.text(left + 11, top + 29.5, "no real patch lies far enough from an edge", 6.5, colour=MUTED)
        return
    page.text(left + 11, top + 29.5, f"{figure.num_patches} real patches", 6.5, colour=_REAL, bold=True)
    page.text(left, top + 33, f"correlation over all members {figure.correlation:.2f}", 6.5, colour=MUTED)


def _chart(
    page: Page,
    left: float,
    top: float,
    wide: float,
    high: float,
    curves: Sequence[tuple[Curves, str]],
    scale: str = "",
) -> None:
    """Curves (O,) over the whole turn; the left edge is 0 degrees. scale: a label of the largest value."""
    values = np.concatenate([curve for curve, _ in curves])
    low, most = min(0.0, float(values.min())), max(float(values.max()), 1e-9)

    def height(value: Any) -> Any:
        return top + high * (1 - (value - low) / (most - low))

    page.lines([[[left, height(0.0)], [left + wide, height(0.0)]]], colour=FAINT, points=0.5)
    for curve, colour in curves:
        closed = np.append(curve, curve[0])
        across = left + wide * np.linspace(0, 1, len(closed))
        _path(page, np.stack([across, height(closed)], axis=1), colour, 1.0)
    page.text(left, top - 0.6, scale or f"{most:.1f} sd", 5.5, colour=GREY)
    for words, at, align in (("0°", 0.0, "left"), ("180°", 0.5, "center"), ("360°", 1.0, "right")):
        page.text(left + wide * at, top + high + 3.2, words, 6, colour=GREY, align=align)


def _all_curves(page: Page, figure: FamilyFigure, top: float) -> None:
    """The shown members' curves, to the stimulus and to the real patches of the others."""
    wide = (WIDTH - 2 * MARGIN - 8) / 2
    panels = (
        ("As the stimulus turns, the members fire in turn", figure.curves),
        ("Real patches of the other members, turned likewise", figure.real),
    )
    for number, (words, curves) in enumerate(panels):
        left = MARGIN + number * (wide + 8)
        _head(page, left, top, words, wide)
        if curves is None:
            page.rectangle(left, top + 5, wide, 34, edge=FAINT, fill=PAPER)
            continue
        shown = [
            (_unit_range(curves[member]), _colour(figure.orientation[member], figure.period))
            for member in figure.shown
        ]
        scale = "the members above, each from its least to its largest response"
        _chart(page, left, top + 5, wide, 34, shown, scale)


def _unit_range(curve: Curves) -> Curves:
    return (curve - curve.min()) / max(float(np.ptp(curve)), 1e-9)
