"""A network ready for inspection: frozen, in eval mode, with its preprocessing and its class names.

B = batch. Images are (B, 3, height, width), RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.eager import eager
from atlas_pipeline.models.execution import Run, observe
from atlas_pipeline.models.map_reading import read_maps
from atlas_pipeline.models.plain_module import first_line, fold_parametrisations
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.refusal import failure_message

if TYPE_CHECKING:
    from torch import fx

    from atlas_pipeline.models.attribution_mode import AttributionMode
    from atlas_pipeline.models.graph import TracedNetwork
    from atlas_pipeline.models.shared_pass import SharedPass


class Normalise(nn.Module):
    """Converts images in [0, 1] or uint8 to the network's input: ``(x - mean) / std`` per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, height, width) float32, differentiable in ``images``."""
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return (images - self.mean) / self.std


class Network:
    """A classifier and its properties.

    module: frozen, in eval mode, takes normalised images. labels: class names, or None. weights_note: origin
    of the weights, for people. random: whether the weights are random. runs: every submodule that runs in a
    forward pass, in the order in which the last runs finish. num_classes: number of logits. memory_format:
    the memory format of the network's tensors.
    """

    def __init__(
        self,
        *,
        name: str,
        module: nn.Module,
        preprocess: Preprocess,
        weights_note: str,
        labels: tuple[str, ...] | None = None,
        random: bool = False,
    ) -> None:
        """Try the network on two grey images.

        Raises: ModelError: the network cannot run on an image of its size, or returns no logits.
        """
        self.name = name
        self.module = _frozen(module, name)
        self.preprocess = preprocess
        self.weights_note = weights_note
        self.labels = labels
        self.random = random
        self._normalise = Normalise(preprocess)
        self.runs, self.memory_format, self.num_classes = self._try_forward()
        self._forget()

    def _forget(self) -> None:
        """Drop all that was found out about the network where it lay before."""
        # The graph, traced once (see graph.traced_network); a list, since it may be None.
        self.trace: list[TracedNetwork | None] | None = None
        # The sizes that the traced code reads, for two numbers of images (see suffix).
        self.sizes: tuple[dict[fx.Node, Any], dict[fx.Node, Any]] | None = None
        # Suffixes of the network by their first layer, each made once (see suffix).
        self.suffixes: dict[str, nn.Module | None] = {}
        # By layer: whether a rerun of the network may replay the modules before it (see replay).
        self.replays: dict[str, bool] = {}
        # Attribution modes by layer and kind of max-pool gradient (see attribution_mode).
        self.attribution_modes: dict[tuple[str, str, bool], AttributionMode] = {}
        # The pass that serves a layer, or why there is none, by layer and kind (see shared_trial).
        self.shared_passes: dict[tuple[str, str], SharedPass | str] = {}

    def __repr__(self) -> str:
        return f"Network({self.name}, {self.weights_note})"

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self._normalise.mean.device

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels, or ``class 0``, ``class 1``... if there are none."""
        return self.labels or tuple(f"class {i}" for i in range(self.num_classes))

    def to(self, device: str | torch.device) -> Network:
        """Move to a device, in place, and return the network."""
        self.module.to(device)
        self._normalise.to(device)
        self._forget()
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Convert images (B, 3, height, width) in [0, 1] or uint8 to the input of ``module``.

        The result is differentiable in ``images``.
        """
        return self._normalise(images).contiguous(memory_format=self.memory_format)

    def feature_map(self, layer: str, output: Tensor) -> Tensor:
        """A layer's output as (B, channel, row, column), float32; a view if the output is float32 already.

        Raises: ModelError: the layer has no spatial map, or its tokens form no square.
        """
        form = self.runs[layer].form
        if form is None:
            raise ModelError(f"layer '{layer}' of {self.name} has no spatial map; see: atlas layers CONFIG")
        return form.to_map(output).float()

    def logits(self, images: Tensor) -> Tensor:
        """The logits (B, class) float32 of images in [0, 1] or uint8.

        Raises: ModelError: the network returns something else.
        """
        with eager(), ieee():
            output = self.module(self.normalise(images))
        return self.checked_logits(output)

    def checked_logits(self, output: Any) -> Tensor:
        """``output`` as float32, checked to be logits (B, class).

        Raises: ModelError: it is not.
        """
        if isinstance(output, Tensor) and output.dim() == 2 and output.is_floating_point():
            return output.float()
        shape = type(output).__name__
        if isinstance(output, Tensor):
            shape = f"({', '.join(['batch', *map(str, output.shape[1:])])})"
            shape += "" if output.is_floating_point() else f" of {output.dtype}"
        raise ModelError(
            f"{self.name} must return logits of shape (batch, class), but returns {shape}; wrap it in "
            "a module that does"
        )

    def _try_forward(self) -> tuple[dict[str, Run], torch.memory_format, int]:
        """Run two grey images: the modules that run, the memory format, and the number of logits."""
        size = self.preprocess.crop
        grey_images = torch.full((2, 3, size, size), 0.5)
        # Channels-last takes half the time on a CPU, but code that calls .view() on a map cannot use it.
        for memory_format in (torch.channels_last, torch.contiguous_format):
            self.memory_format = memory_format
            self.module.to(memory_format=memory_format)  # type: ignore[call-overload]
            try:
                outputs, output = observe(self.module, self.normalise(grey_images))
            except Exception as error:
                # User code may raise anything.
                failure = error
            else:
                num_classes = self.checked_logits(output).shape[1]
                runs = read_maps(self.module, outputs, len(grey_images), size, self.normalise)
                return runs, memory_format, num_classes
        raise ModelError(
            failure_message(self.module, self.normalise(grey_images), self.name, failure)
        ) from failure


def _frozen(module: nn.Module, name: str) -> nn.Module:
    """The module on the CPU, in float32, in eval mode, without gradients for its parameters.

    Raises: ModelError: that is not possible.
    """
    try:
        module.eval()
        fold_parametrisations(module)
        return module.float().to("cpu").requires_grad_(False)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise ModelError(
            f"{name} cannot be opened as a frozen float32 network on the CPU: {first_line(error)}; give a "
            "plain nn.Module with its parameters on a real device"
        ) from error
