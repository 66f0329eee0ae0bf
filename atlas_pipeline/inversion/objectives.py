"""What an icon can be made to maximise: a direction, a channel, a neuron, a logit, a whole layer.

Every objective scores a batch of images, each image by itself; ``which`` says which icon an image is of, for
icons come and go. Anything else is a class of your own with these two methods. B = icon in a batch,
N = icons in all, K = channel, S = icon side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion.objective import centre_activation, centre_position, likeness
from atlas_pipeline.inversion.visible_window import FeatureMap, VisibleWindow, parts_of, visible_window


class Objective(ABC):
    """One score an image, higher the better, differentiable in the images.

    num_icons: how many icons it has goals for.
    """

    num_icons: int

    def window(self, size_px: int) -> VisibleWindow:
        """The part of the (S, S) image that it needs to see; where nothing else is said, the whole."""
        return VisibleWindow(0, size_px, 0, 0, 1)

    @abstractmethod
    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Scores (B,) of images (B, 3, side, side) in [0, 1] of the icons ``which`` (B,) int64."""


class Direction(Objective):
    """The activation at the map's centre points along a direction: what an atlas' icons are.

    Args:   feature_map: (B, 3, side, side) in [0, 1] -> (B, K, height, width), on `device`.
            directions: (N, K), none zero. kind, power: as `objective.likeness`.
            root: (K, K), `objective.metric_root` of the precision, for the whitened metric; None: raw.
    Raises: ModelError, when called: the map has other channels than the directions.
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

    def window(self, size_px: int) -> VisibleWindow:
        self._window = visible_window(self._feature_map, size_px, self._goals.device)
        self._parts = parts_of(self._feature_map, size_px)
        return self._window

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Of the images' part that `window` named; of whole images, before it was asked."""
        if self._window is None:
            return self.of_activations(self.activations(images), which)
        activations = self._checked(self._window.activation(self._parts, images))
        return self.of_activations(activations, which)

    def activations(self, images: Tensor) -> Tensor:
        """The activation (B, K) at the centre of whole images."""
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
        return likeness(self._in_metric(activations), self._goals[which], self._kind, self._power)

    def _in_metric(self, vectors: Tensor) -> Tensor:
        return vectors if self._root is None else vectors @ self._root


class _Chosen(Objective):
    """One column of a matrix of values an icon. columns: (N,)."""

    def __init__(self, columns: Sequence[int]) -> None:
        self.num_icons = len(columns)
        self._columns = torch.as_tensor(columns)

    def _of(self, values: Tensor, which: Tensor) -> Tensor:
        """values (B, column) -> (B,), each icon's own."""
        # To the device once: a copy at every step would make the step wait for it.
        self._columns = self._columns.to(values.device)
        return values.float().gather(1, self._columns[which].unsqueeze(1)).squeeze(1)


class Channel(_Chosen):
    """A channel's mean over the whole map. channels: (N,), one an icon."""

    def __init__(self, feature_map: FeatureMap, channels: Sequence[int]) -> None:
        super().__init__(channels)
        self._feature_map = feature_map

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        return self._of(self._feature_map(images).mean((2, 3)), which)


class Neuron(_Chosen):
    """A channel at one position, (row, col) of the map; None: its centre. channels: (N,), one an icon."""

    def __init__(
        self, feature_map: FeatureMap, channels: Sequence[int], position: tuple[int, int] | None = None
    ) -> None:
        super().__init__(channels)
        self._feature_map, self._position = feature_map, position

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        feature_map = self._feature_map(images)
        row, col = self._position or centre_position(*feature_map.shape[-2:])
        return self._of(feature_map[:, :, row, col], which)


class Logit(_Chosen):
    """A class's logit. logits: (B, 3, S, S) -> (B, class). classes: (N,), one an icon."""

    def __init__(self, logits: Callable[[Tensor], Tensor], classes: Sequence[int]) -> None:
        super().__init__(classes)
        self._logits = logits

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        return self._of(self._logits(images), which)


class DeepDream(Objective):
    """Whatever the layer sees, more of it: the mean square of the map (Mordvintsev et al., 2015)."""

    def __init__(self, feature_map: FeatureMap, num_icons: int = 1) -> None:
        self.num_icons = num_icons
        self._feature_map = feature_map

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        return self._feature_map(images).float().square().mean((1, 2, 3))
