"""Objectives that an icon can maximise: a direction, a channel, a neuron, a logit or a whole layer.

An objective scores each image of a batch independently. ``which`` holds the icon index of each image, because
the icons in a batch change. A custom objective is a subclass with `num_icons` and `__call__`.
B = icon in a batch, N = number of icons, K = channel, S = icon side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion.objective import centre_activation, centre_position, direction_score
from atlas_pipeline.inversion.visible_window import FeatureMap, VisibleWindow, parts_of, visible_window


class Objective(ABC):
    """Scores images: one score per image, higher is better, differentiable with respect to the images.

    num_icons: number of icons that it has goals for.
    """

    num_icons: int

    @property
    def network(self) -> object:
        """The object that decides, with the settings, how much memory an icon takes."""
        return self

    def window(self, size_px: int) -> VisibleWindow:
        """The part of the (S, S) image that it needs; the whole image by default."""
        return VisibleWindow(0, size_px, 0, 0, 1)

    @abstractmethod
    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Score images (B, 3, side, side) in [0, 1] of the icons ``which`` (B,) int64. Returns: (B,)."""


class Direction(Objective):
    """The activation at the map's centre points along a direction: the objective of an atlas's icons.

    Args:   feature_map: (B, 3, side, side) in [0, 1] -> (B, K, height, width), on `device`.
            directions: (N, K), none zero. kind, power: as in `objective.direction_score`.
            root: (K, K), `objective.metric_root` of the precision, for the whitened metric; None: raw metric.
    Raises: ModelError, when called: the map and the directions differ in channels.
    Example:

    >>> import torch
    >>> layer = torch.nn.Conv2d(3, 4, 3).requires_grad_(False)
    >>> objective = Direction(layer, torch.eye(4))
    >>> objective(torch.rand(2, 3, 16, 16), torch.tensor([0, 3])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        feature_map: FeatureMap,
        directions: Tensor,
        *,
        kind: str = "cosine_power",
        power: float = 8.0,
        root: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.num_icons = len(directions)
        self._feature_map, self._kind, self._power = feature_map, kind, power
        self._root = None if root is None else root.to(device)
        self._goals = self._in_metric(directions.to(device))
        self._window: VisibleWindow | None = None
        self._parts: Sequence[FeatureMap] = [feature_map]

    @property
    def network(self) -> object:
        return self._feature_map

    def window(self, size_px: int) -> VisibleWindow:
        self._window = visible_window(self._feature_map, size_px, self._goals.device)
        self._parts = parts_of(self._feature_map, size_px)
        return self._window

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Score the part of the images inside the window; whole images if `window` was never called."""
        if self._window is None:
            return self.of_activations(self.activations(images), which)
        activations = self._checked(self._window.activation(self._parts, images))
        return self.of_activations(activations, which)

    def activations(self, images: Tensor) -> Tensor:
        """Activation (B, K) at the centre of whole images."""
        return self._checked(centre_activation(self._feature_map(images)))

    def _checked(self, activations: Tensor) -> Tensor:
        if activations.shape[1] != self._goals.shape[1]:
            raise ModelError(
                f"the feature map has {activations.shape[1]} channels, the directions "
                f"{self._goals.shape[1]}; cut the network at the layer they were sampled from"
            )
        return activations.float()

    def of_activations(self, activations: Tensor, which: Tensor) -> Tensor:
        """Scores (B,) of centre activations (B, K)."""
        return direction_score(self._in_metric(activations), self._goals[which], self._kind, self._power)

    def _in_metric(self, vectors: Tensor) -> Tensor:
        return vectors if self._root is None else vectors @ self._root


class _Column(Objective):
    """Objective that reads one column of a matrix of values for each icon. columns: (N,)."""

    def __init__(self, columns: Sequence[int]) -> None:
        self.num_icons = len(columns)
        self._columns = torch.as_tensor(columns)

    def _of(self, values: Tensor, which: Tensor) -> Tensor:
        """values (B, column) -> (B,): the column of each icon."""
        # Copy to the device once: a copy at every step would wait for the device.
        self._columns = self._columns.to(values.device)
        return values.float().gather(1, self._columns[which].unsqueeze(1)).squeeze(1)


class Channel(_Column):
    """Mean of a channel over the whole map. channels: (N,), one per icon.

    >>> import torch
    >>> layer = torch.nn.Conv2d(3, 4, 3).requires_grad_(False)
    >>> Channel(layer, range(4)).num_icons
    4
    """

    def __init__(self, feature_map: FeatureMap, channels: Sequence[int]) -> None:
        super().__init__(channels)
        self._feature_map = feature_map

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        return self._of(self._feature_map(images).mean((2, 3)), which)


class Neuron(_Column):
    """Value of a channel at one position of the map. channels: (N,), one per icon.

    position: (row, col); None: the map's centre.

    >>> import torch
    >>> identity = torch.nn.Identity()
    >>> images = torch.arange(27.0).view(1, 3, 3, 3)
    >>> Neuron(identity, [2])(images, torch.tensor([0]))  # channel 2 at row 1, column 1
    tensor([22.])
    """

    def __init__(
        self, feature_map: FeatureMap, channels: Sequence[int], position: tuple[int, int] | None = None
    ) -> None:
        super().__init__(channels)
        self._feature_map, self._position = feature_map, position

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        feature_map = self._feature_map(images)
        row, col = self._position or centre_position(*feature_map.shape[-2:])
        return self._of(feature_map[:, :, row, col], which)


class Logit(_Column):
    """Logit of a class. logits: (B, 3, S, S) -> (B, class). classes: (N,), one per icon.

    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    >>> Logit(network, [3, 7])(torch.rand(2, 3, 8, 8), torch.tensor([0, 1])).shape
    torch.Size([2])
    """

    def __init__(self, logits: Callable[[Tensor], Tensor], classes: Sequence[int]) -> None:
        super().__init__(classes)
        self._logits = logits

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        return self._of(self._logits(images), which)


class DeepDream(Objective):
    """Mean square of the whole map: amplifies everything the layer detects (Mordvintsev et al., 2015).

    >>> import torch
    >>> DeepDream(torch.nn.Identity())(torch.full((1, 3, 4, 4), 0.5), torch.tensor([0]))
    tensor([0.2500])
    """

    def __init__(self, feature_map: FeatureMap, num_icons: int = 1) -> None:
        self.num_icons = num_icons
        self._feature_map = feature_map

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        return self._feature_map(images).float().square().mean((1, 2, 3))
