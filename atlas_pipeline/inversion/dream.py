"""Dreams: pictures of any shape in which a layer finds more of everything, or more of what it found there.

The picture grows from octave to octave. In each, Fourier coefficients of decorrelated colours start from zero
and are added to what the octave before has made. The network sees the picture in tiles, so the memory that it
takes does not grow with the picture. H, W = rows and columns; F = W // 2 + 1.
Source: Mordvintsev, Olah and Tyka, "Inceptionism" (2015), for octaves and tiles; Olah, Mordvintsev and
Schubert, "Feature Visualization" (Distill 2017), for the coefficients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion import fourier, random_streams, schedule
from atlas_pipeline.inversion.arithmetic import arithmetic
from atlas_pipeline.inversion.settings import InversionSettings
from atlas_pipeline.inversion.tiles import add_tile, tile_of, tiles
from atlas_pipeline.inversion.visible_window import FeatureMap
from atlas_pipeline.models.arithmetic import ieee

TILE_STREAM = 6
_LEAST_SIDE_PX = 32
_TINY = 1e-12
# Half a level inside black and white: the sigmoid never reaches 0 or 1.
_MARGIN = 0.5 / 255
# Pixels at most this far from black or white, of 1, count as saturated.
_SATURATED = 2.5 / 255


class Goal(ABC):
    """The goal of a tile. has_real: its score compares the tile with the given picture."""

    has_real = False

    def __init__(self, feature_map: FeatureMap) -> None:
        self.feature_map = feature_map

    @abstractmethod
    def score(self, maps: Tensor, real: Tensor | None) -> Tensor:
        """Score, a scalar, of a tile's map (1, K, rows, columns); ``real``: the map of the given picture."""


class LayerSquares(Goal):
    """Mean square of the map: more of everything that the layer detects (DeepDream).

    >>> LayerSquares(torch.nn.Identity()).score(torch.full((1, 3, 4, 4), 0.5), None)
    tensor(0.2500)
    """

    def score(self, maps: Tensor, real: Tensor | None) -> Tensor:
        return maps.square().mean()


class Caricature(Goal):
    """Mean over positions of (h.v) cos(h, v) ** power, in units of the mean of v.v: v is the picture's.

    Strong activations count more than weak ones. A negative cosine counts as 0 where it is raised to a power.

    Source: Lucid's notebooks on caricatures (Olah, 2018).
    """

    has_real = True

    def __init__(self, feature_map: FeatureMap, power: float = 1.0) -> None:
        super().__init__(feature_map)
        self._power = power

    def score(self, maps: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None
        dot = (maps * real).sum(1)
        lengths = (maps.square().sum(1) * real.square().sum(1)).clamp(min=_TINY).sqrt()
        cosine = (dot / lengths).clamp(min=_TINY)
        return (dot * cosine**self._power).sum() / real.square().sum().clamp(min=_TINY)


@dataclass(frozen=True, slots=True, kw_only=True)
class DreamSettings:
    """How a dream is made.

    Attributes:
        octaves: number of sizes, the last of them the picture's own. octave_scale: from one to the next.
        tile_px: most pixels of a tile's side. own_px: least pixels of it, unless tile_px is less.
        inversion: steps (of an octave), learning_rate, start_sd, contrast, spectrum, arithmetic; the other
            settings are not used.
    """

    octaves: int = 4
    octave_scale: float = 1.4
    tile_px: int = 512
    own_px: int = 224
    inversion: InversionSettings = field(
        default_factory=lambda: InversionSettings(steps=16, learning_rate=0.03)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Dream:
    """A finished dream. image: (H, W, 3) uint8. before, after: the score of the start and of the image.

    saturated: share of colour values within two levels of black or white.
    """

    image: Tensor
    before: float
    after: float
    saturated: float


def octave_sizes(size_px: tuple[int, int], octaves: int, scale: float) -> list[tuple[int, int]]:
    """Sizes (H, W) of the octaves, each once; no side is below 32 px, or below the picture's own.

    >>> octave_sizes((280, 560), 3, 2.0)
    [(70, 140), (140, 280), (280, 560)]
    """
    sizes = []
    for left in reversed(range(octaves)):
        rows, cols = (max(round(px / scale**left), min(px, _LEAST_SIDE_PX)) for px in size_px)
        sizes.append((rows, cols))
    return list(dict.fromkeys(sizes))


@ieee()
def dream(
    goal: Goal,
    size_px: tuple[int, int],
    seed: int,
    settings: DreamSettings,
    *,
    picture: Tensor | None = None,
    from_picture: bool = False,
    device: str | torch.device = "cpu",
    advance: Callable[[float], None] | None = None,
) -> Dream:
    """Make a dream from noise, or from a picture.

    The result depends on the arguments alone. On a GPU it repeats only up to the order of additions.

    Args:    goal: with a feature map on the device. size_px: (H, W) of the result. picture: (rows, columns,
             3) uint8 of about that shape, for goals that compare with it or a dream that begins with it.
             from_picture: begin with the picture, not with noise. advance: called with the progress, which
             adds up to 1.
    Raises:  ValueError: the picture is missing. ModelError: activations that are not finite, or a layer that
             nothing changes.
    """
    if picture is None and (from_picture or goal.has_real):
        raise ValueError("picture is missing: the goal compares with one, or the dream begins with one")
    device = torch.device(device)
    sizes = octave_sizes(size_px, settings.octaves, settings.octave_scale)
    detail: Tensor | None = None
    num_steps = settings.inversion.steps
    draws = random_streams.uniform([seed], TILE_STREAM, 2 * num_steps * len(sizes))[0]
    for size, of_octave in zip(sizes, draws.view(len(sizes), num_steps, 2).tolist(), strict=True):
        octave = _Octave(goal, size, seed, settings, picture, from_picture, device)
        octave.begin(detail)
        for step, draw in enumerate(of_octave):
            octave.step(step, (draw[0], draw[1]))
            if advance:
                advance(1 / (num_steps * len(sizes)))
        detail = octave.detail()
    octave.refuse_unmoved()
    before, after = octave.score(octave.origin), octave.score(octave.planes())
    pixels = octave.pixels(octave.planes())
    saturated = ((pixels < _SATURATED) | (pixels > 1 - _SATURATED)).float().mean().item()
    image = (pixels[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu()
    return Dream(image, before, after, saturated)


class _Octave:
    """A dream at one size. All tensors are on the device; planes and pixels are (1, 3, H, W)."""

    def __init__(
        self,
        goal: Goal,
        size_px: tuple[int, int],
        seed: int,
        settings: DreamSettings,
        picture: Tensor | None,
        from_picture: bool,
        device: torch.device,
    ) -> None:
        self._goal, self._size_px, self._seed = goal, size_px, seed
        self._settings, self._device = settings, device
        inversion = settings.inversion
        self._weights = fourier.spectrum_weights(inversion, size_px).to(device)
        self._mirrored = fourier.mirrored_weights(self._weights, size_px[1])
        self._mix = fourier.colour_mix(inversion.contrast).to(device)
        self._rates = schedule.learning_rates(inversion).tolist()
        self._has_moved = False
        small = None if picture is None else resized(picture, size_px, device)
        self._real = small.float() / 255 if small is not None and goal.has_real else None
        if small is not None and from_picture:
            pixels = small.permute(0, 2, 3, 1)
            self.origin = fourier.decorrelated(pixels, inversion.contrast, margin=_MARGIN)
        else:
            self.origin = self._of_coefficients(self._noise())

    def _noise(self) -> Tensor:
        """Random coefficients (1, 3, H, F, 2), drawn plane by plane: the draws take much memory."""
        shape = (*self._weights.shape, 2)
        sd, num = self._settings.inversion.start_sd, torch.Size(shape).numel()
        drawn = [
            random_streams.normal([3 * self._seed + plane], fourier.START_STREAM, num).mul_(sd).float()
            for plane in range(3)
        ]
        return torch.stack([plane.view(shape) for plane in drawn])[None].to(self._device)

    def _of_coefficients(self, coefficients: Tensor) -> Tensor:
        return fourier.planes(coefficients, self._weights, self._mirrored, self._size_px[1])

    def begin(self, detail: Tensor | None) -> None:
        """Begin with what the octave before has added to its own origin, enlarged; None: the first octave."""
        self._base = self.origin if detail is None else self.origin + enlarged(detail, self._size_px)
        self._coefficients = torch.zeros(1, 3, *self._weights.shape, 2, device=self._device)
        self._first = torch.zeros_like(self._coefficients)
        self._second = torch.zeros_like(self._coefficients)

    def planes(self) -> Tensor:
        """The picture as it is now, in decorrelated colours."""
        return self._base + self._of_coefficients(self._coefficients)

    def pixels(self, planes: Tensor) -> Tensor:
        """Planes as red, green and blue, in (0, 1)."""
        return fourier.colours(planes, self._mix, self._settings.inversion.contrast)

    def detail(self) -> Tensor:
        """The difference to the origin."""
        return self.planes() - self.origin

    def step(self, number: int, draws: tuple[float, float]) -> None:
        """Take one step. number: in this octave. draws: where the tiles lie, see `AxisTiles.rows`."""
        coefficients = self._coefficients.detach().requires_grad_()
        pixels = self.pixels(self._base + self._of_coefficients(coefficients))
        gradient = self._gradient(pixels.detach(), draws)
        (gradient,) = torch.autograd.grad(pixels, coefficients, gradient)
        rate, correction = self._rates[number]
        memory = self._settings.inversion.adam_memory
        self._first.lerp_(gradient, 1 - schedule.FIRST_MEMORY)
        self._second.lerp_(gradient.square_(), 1 - memory)
        root = self._second.sqrt().mul_(correction).add_(_TINY)
        self._coefficients = (coefficients + self._first.div(root).mul_(rate)).detach()

    def _gradient(self, pixels: Tensor, draws: tuple[float, float]) -> Tensor:
        """Gradient of the score with respect to the pixels, uphill, with a mean square of 1; 0 stays 0."""
        gradient = torch.zeros_like(pixels)
        for rows, cols in self._tiles(draws):
            tile = tile_of(pixels, rows, cols).requires_grad_()
            (of_tile,) = torch.autograd.grad(self._score_of(tile, rows, cols), tile)
            add_tile(gradient, of_tile, rows, cols)
        scale = gradient.square().mean().sqrt()
        if not torch.isfinite(scale):
            raise ModelError(
                "the layer's activations or their gradient are not finite; look at the network with: "
                "atlas check CONFIG"
            )
        self._has_moved = self._has_moved or bool(scale > 0)
        return gradient / scale if scale > 0 else gradient

    def _tiles(self, draws: tuple[float, float]) -> list[tuple[Tensor, Tensor]]:
        settings = self._settings
        return list(tiles(self._size_px, settings.tile_px, settings.own_px, draws, self._device))

    def _score_of(self, tile: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
        with arithmetic(self._settings.inversion.arithmetic, self._device):
            real = None
            if self._real is not None:
                with torch.no_grad():
                    real = self._goal.feature_map(tile_of(self._real, rows, cols)).float()
            return self._goal.score(self._goal.feature_map(tile).float(), real)

    def score(self, planes: Tensor) -> float:
        """Mean score over the tiles, without a gradient; the tiles lie in the middle."""
        with torch.no_grad():
            pixels = self.pixels(planes)
            found = [self._score_of(tile_of(pixels, r, c), r, c) for r, c in self._tiles((0.5, 0.5))]
        return torch.stack(found).mean().item()

    def refuse_unmoved(self) -> None:
        """Raises: ModelError: no step had a gradient."""
        if not self._has_moved:
            raise ModelError(
                "nothing that the picture shows changes the layer's output, so there is nothing to dream of; "
                "choose another layer: atlas layers CONFIG"
            )


def resized(picture: Tensor, size_px: tuple[int, int], device: torch.device) -> Tensor:
    """A picture (rows, columns, 3) uint8 at another size: (1, 3, H, W) uint8, antialiased."""
    pixels = picture.to(device).permute(2, 0, 1)[None].float()
    if tuple(pixels.shape[2:]) != size_px:
        pixels = functional.interpolate(pixels, size_px, mode="bicubic", antialias=True, align_corners=False)
    return pixels.round().clamp(0, 255).to(torch.uint8)


def enlarged(planes: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Planes (1, 3, rows, columns) at the size of the next octave."""
    return functional.interpolate(planes, size_px, mode="bicubic", align_corners=False)
