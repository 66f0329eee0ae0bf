"""Objectives that an icon can maximise: a direction, a channel, a neuron, a logit or a whole layer.

An objective scores each image of a batch independently. ``which`` holds the icon index of each image, because
the icons in a batch change. A custom objective is a subclass with `num_icons`, `outputs` and `scores`.
B = icon in a batch, N = number of icons, K = channel, S = icon side.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion.bfloat16_weights import with_bfloat16_weights
from atlas_pipeline.inversion.objective import Goals, centre_activation, centre_position
from atlas_pipeline.inversion.vignette import Field, effective_field
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

    def field(self, size_px: int, device: torch.device) -> Field | None:
        """The part of the (S, S) image that decides the score; None: every part counts."""
        return None

    @abstractmethod
    def outputs(self, images: Tensor) -> Tensor:
        """Outputs of the network for images (B, 3, side, side) in [0, 1]: (B, ...).

        Only this part runs in the settings' `arithmetic`.
        """

    @abstractmethod
    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        """Scores (B,) of the outputs (B, ...) float32 for the icons ``which`` (B,) int64."""

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Scores (B,) of images (B, 3, side, side) of the icons ``which`` (B,) int64."""
        return self.scores(self.outputs(images).float(), which)

    def in_bfloat16(self) -> Objective:
        """An objective of equal values within bfloat16 autocast, whose weights are converted already."""
        return self


class OfNetwork(Objective):
    """Objective whose outputs are those of a network."""

    def __init__(self, network: FeatureMap, num_icons: int) -> None:
        self.num_icons = num_icons
        self._network = network

    def outputs(self, images: Tensor) -> Tensor:
        return self._network(images)

    def in_bfloat16(self) -> Objective:
        converted = copy.copy(self)
        converted._network = with_bfloat16_weights(self._network)
        return converted


class Direction(OfNetwork):
    """The activation at the map's centre points along a direction: the objective of an atlas's icons.

    Args:   feature_map: (B, 3, side, side) in [0, 1] -> (B, K, height, width), on `device`.
            directions: (N, K), none zero. kind, power: as in `objective.Goals`.
            root: (K, K), `objective.metric_root` of the precision, for a whitened metric; None: raw metric.
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
        super().__init__(feature_map, len(directions))
        self._root = None if root is None else root.to(device)
        self._goals = Goals(self._in_metric(directions.to(device)), kind, power)
        self._window: VisibleWindow | None = None
        self._parts: Sequence[FeatureMap] = [feature_map]

    @property
    def network(self) -> object:
        return self._network

    def window(self, size_px: int) -> VisibleWindow:
        self._window = visible_window(self._network, size_px, self._goals.directions.device)
        self._parts = parts_of(self._network, size_px)
        self._size_px = size_px
        return self._window

    def field(self, size_px: int, device: torch.device) -> Field | None:
        return effective_field(self._network, size_px, device)

    def in_bfloat16(self) -> Objective:
        converted = super().in_bfloat16()
        assert isinstance(converted, Direction)
        if self._window is not None:
            converted._parts = parts_of(converted._network, self._size_px)
        return converted

    def outputs(self, images: Tensor) -> Tensor:
        """Centre activation (B, K) of the part of the images inside the window.

        If `window` was never called, the images are whole.
        """
        if self._window is None:
            return self.activations(images)
        return self._checked(self._window.activation(self._parts, images))

    def activations(self, images: Tensor) -> Tensor:
        """Activation (B, K) at the centre of whole images."""
        return self._checked(centre_activation(self._network(images)))

    def _checked(self, activations: Tensor) -> Tensor:
        num_channels = self._goals.directions.shape[1]
        if activations.shape[1] != num_channels:
            raise ModelError(
                f"the feature map has {activations.shape[1]} channels, the directions {num_channels}; "
                "cut the network at the layer they were sampled from"
            )
        return activations.float()

    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        return self._goals.scores(self._in_metric(outputs), which)

    def _in_metric(self, vectors: Tensor) -> Tensor:
        return vectors if self._root is None else vectors @ self._root


class _Column(OfNetwork):
    """Objective that reads one column of a matrix of values for each icon.

    columns: (N,). signs: (N,), 1 or -1 for each icon, by which its value is multiplied; None: 1 for all.
    """

    def __init__(
        self, network: FeatureMap, columns: Sequence[int], signs: Sequence[float] | None = None
    ) -> None:
        super().__init__(network, len(columns))
        self._columns = torch.as_tensor(columns)
        self._signs = None if signs is None else torch.tensor(signs, dtype=torch.float32)

    def _of(self, values: Tensor, which: Tensor) -> Tensor:
        """values (B, column) -> (B,): the column of each icon, with its sign."""
        # Copy to the device once: a copy at every step would wait for the device.
        self._columns = self._columns.to(values.device)
        found = values.gather(1, self._columns[which].unsqueeze(1)).squeeze(1)
        if self._signs is None:
            return found
        self._signs = self._signs.to(values.device)
        return found * self._signs[which]


class Channel(_Column):
    """Mean of a channel over the whole map. channels: (N,), one per icon. signs: -1 for its least mean.

    >>> import torch
    >>> layer = torch.nn.Conv2d(3, 4, 3).requires_grad_(False)
    >>> Channel(layer, range(4)).num_icons
    4
    """

    def __init__(
        self, feature_map: FeatureMap, channels: Sequence[int], signs: Sequence[float] | None = None
    ) -> None:
        super().__init__(feature_map, channels, signs)

    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        return self._of(outputs.mean((2, 3)), which)


class Neuron(_Column):
    """Value of a channel at one position of the map. channels: (N,), one per icon.

    position: (row, col); None: the map's centre. signs: -1 for the channel's least value.

    >>> import torch
    >>> identity = torch.nn.Identity()
    >>> images = torch.arange(27.0).view(1, 3, 3, 3)
    >>> Neuron(identity, [2])(images, torch.tensor([0]))  # channel 2 at row 1, column 1
    tensor([22.])
    """

    def __init__(
        self,
        feature_map: FeatureMap,
        channels: Sequence[int],
        position: tuple[int, int] | None = None,
        signs: Sequence[float] | None = None,
    ) -> None:
        super().__init__(feature_map, channels, signs)
        self._position = position

    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        row, col = self._position or centre_position(*outputs.shape[-2:])
        return self._of(outputs[:, :, row, col], which)


class Logit(_Column):
    """Logit of a class. logits: (B, 3, S, S) -> (B, class). classes: (N,), one per icon.

    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    >>> Logit(network, [3, 7])(torch.rand(2, 3, 8, 8), torch.tensor([0, 1])).shape
    torch.Size([2])
    """

    def __init__(self, logits: Callable[[Tensor], Tensor], classes: Sequence[int]) -> None:
        super().__init__(logits, classes)

    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        return self._of(outputs, which)


class DeepDream(OfNetwork):
    """Mean square of the whole map: amplifies everything the layer detects (Mordvintsev et al., 2015).

    >>> import torch
    >>> DeepDream(torch.nn.Identity())(torch.full((1, 3, 4, 4), 0.5), torch.tensor([0]))
    tensor([0.2500])
    """

    def __init__(self, feature_map: FeatureMap, num_icons: int = 1) -> None:
        super().__init__(feature_map, num_icons)

    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        return outputs.square().mean((1, 2, 3))
