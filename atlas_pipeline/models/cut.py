"""The part of a network that makes one layer, as fast as it goes: for feature inversion.

B = batch, C = channels.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atlas_pipeline.models.capture import capture, feature_maps
from atlas_pipeline.models.execution import IMAGE_FAILURES
from atlas_pipeline.models.graph import prefix, same
from atlas_pipeline.models.held_tensor import held_tensor
from atlas_pipeline.models.image_size import size_error
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.network import Network, Normalise
from atlas_pipeline.models.parts import taken_apart
from atlas_pipeline.models.strided import ease_first_strides


def cut(network: Network, layer: str) -> nn.Module:
    """Images (B, 3, height, width) in [0, 1] -> feature map (B, C, rows, columns), differentiable.

    On the network's device, in its memory format, sharing its parameters. Where the network can be traced it
    holds nothing beyond the layer, and its batch norms are folded into the convolutions before them;
    elsewhere a forward stops at the layer. Equals ``feature_maps`` but for float32 rounding.

    Raises: ModelError: no such layer, or no spatial map; and from the cut network, images of a size that the
            network does not take.
    """
    check_layers(network, [layer])
    body = prefix(network.module, layer)
    if body is not None:
        fold_batch_norms(body)
        if network.device.type == "cpu":
            ease_first_strides(body)
        whole: nn.Module = CutNetwork(network, layer, body)
        if _agrees(whole, network, layer):
            return whole
    return CutNetwork(network, layer, _StoppedAtLayer(network.module, layer, network.runs[layer].times))


class CutNetwork(nn.Module):
    """Normalisation, the network up to a layer, and the layer's output read as a feature map."""

    def __init__(self, network: Network, layer: str, body: nn.Module) -> None:
        super().__init__()
        form = network.runs[layer].form
        assert form is not None, layer
        self.name, self.own_px, self.form = network.name, network.preprocess.crop, form
        self.normalise = Normalise(network.preprocess).to(network.device)
        self.memory_format = network.memory_format
        self.body = body.requires_grad_(False)
        self.body.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1] -> feature map.

        Raises: ModelError: images of a size that the network does not take.
        """
        normalised = self._normalised(images)
        try:
            # .forward: called as a module, a traced network prints its code when it fails.
            output = self.body.forward(normalised)
        except IMAGE_FAILURES as error:
            refusal = size_error(self.body.forward, normalised, self.name, self.own_px, error)
            if refusal is None:
                raise
            raise refusal from error
        tensor = held_tensor(output)
        assert tensor is not None, self.name
        return self.form.to_map(tensor).float()

    def parts(self, size_px: int) -> list[Callable[[Tensor], Tensor]]:
        """What, one after the other, does what this one does, with one square map between any two.

        They share its parameters. Where the network cannot be taken apart: this module alone.

        Raises: ModelError: images of this size are not taken.
        """
        if not isinstance(self.body, fx.GraphModule) or str(self.form) != "channels first":
            return [self]
        images = torch.zeros(1, 3, size_px, size_px, device=self.normalise.mean.device)
        with torch.no_grad():
            self(images)
            first, *others = taken_apart(self.body, self._normalised(images))
        # .forward here too: a trial at a size that a part does not take is no news.
        return [lambda images: first.forward(self._normalised(images)), *(part.forward for part in others)]

    def _normalised(self, images: Tensor) -> Tensor:
        return self.normalise(images).contiguous(memory_format=self.memory_format)


class _StoppedAtLayer(nn.Module):
    """A network whose forward ends at a layer, for those that cannot be traced."""

    def __init__(self, module: nn.Module, layer: str, times: int) -> None:
        super().__init__()
        self.module, self.layer, self.times = module, layer, times

    def forward(self, images: Tensor) -> Tensor:
        with capture(self.module, [self.layer], stop_after={self.layer: self.times}) as outputs:
            self.module(images)
        return outputs[self.layer]


def fold_batch_norms(body: fx.GraphModule) -> None:
    """Fold every batch norm that alone follows a convolution into a copy of it, which takes its place.

    Modules that run more than once stay: the folded convolution would change their other runs too.
    """
    modules = dict(body.named_modules())
    runs: dict[str, int] = {}
    for node in body.graph.nodes:
        if node.op == "call_module":
            runs[node.target] = runs.get(node.target, 0) + 1

    def runs_once(node: fx.Node, kind: type[nn.Module]) -> bool:
        return (
            node.op == "call_module"
            and type(modules[str(node.target)]) is kind
            and runs[str(node.target)] == 1
        )

    for node in list(body.graph.nodes):
        if not runs_once(node, nn.BatchNorm2d) or not isinstance(node.args[0], fx.Node):
            continue
        if modules[str(node.target)].running_mean is None:
            # It normalises by its batch: there is nothing to fold.
            continue
        before = node.args[0]
        if not runs_once(before, nn.Conv2d) or len(before.users) != 1:
            continue
        folded = fuse_conv_bn_eval(modules[str(before.target)], modules[str(node.target)])
        body.set_submodule(str(before.target), folded)
        node.replace_all_uses_with(before)
        body.graph.erase_node(node)
    body.delete_all_unused_submodules()
    body.recompile()


def _agrees(whole: nn.Module, network: Network, layer: str) -> bool:
    size = network.preprocess.crop
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(network.device)
    with torch.no_grad(), suppress(*IMAGE_FAILURES):
        return same(whole(images), feature_maps(network, images, [layer])[layer])
    return False
