"""The part of a network up to one layer, made fast for feature inversion.

B = batch, C = channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.capture import capture, feature_maps
from atlas_pipeline.models.execution import IMAGE_FAILURES
from atlas_pipeline.models.graph import prefix, same
from atlas_pipeline.models.held_tensor import held_tensor
from atlas_pipeline.models.image_size import size_error
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.network import Network, Normalise
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.parts import split_graph
from atlas_pipeline.models.response_norm import replace_response_norms
from atlas_pipeline.models.strided import replace_strided_convolutions


def cut(network: Network, layer: str) -> nn.Module:
    """Cut a network at a layer: images (B, 3, height, width) in [0, 1] -> feature map (B, C, rows, columns).

    The result is differentiable. It lies on the network's device in the network's memory format and shares
    its parameters. If the network can be traced, the result holds nothing after the layer, and batch norms
    are folded into the convolutions before them; otherwise the forward pass stops at the layer. The values
    equal those of ``feature_maps`` up to float32 rounding.

    Raises: ModelError: no such layer, or no spatial map. The cut network raises it for an image size that the
            network does not take.

    Example:
        >>> import torch
        >>> from atlas_pipeline.models import ModelSpec, open_network
        >>> part = cut(open_network(ModelSpec(source="demo")), "mixed4")
        >>> part(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 128, 8, 8])
    """
    check_layers(network, [layer])
    body = prefix(network.module, layer)
    if body is not None:
        fold_batch_norms(body)
        if network.device.type == "cpu":
            replace_strided_convolutions(body)
            replace_response_norms(body)
        whole: nn.Module = CutNetwork(network, layer, body)
        if _agrees(whole, network, layer):
            return whole
    return CutNetwork(network, layer, _StoppedAtLayer(network.module, layer, network.runs[layer].times))


class CutNetwork(nn.Module):
    """Normalisation, then the network up to a layer, then the layer's output as a feature map.

    is_traced: whether the body is a graph up to the layer; otherwise it is the network's own code.
    """

    def __init__(self, network: Network, layer: str, body: nn.Module) -> None:
        super().__init__()
        form = network.runs[layer].form
        assert form is not None, layer
        self.name, self.own_px, self.form = network.name, network.preprocess.crop, form
        self.is_traced = isinstance(body, fx.GraphModule)
        self.normalise = Normalise(network.preprocess).to(network.device)
        self.memory_format = network.memory_format
        self.body = body.requires_grad_(False)
        self.body.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1] -> feature map.

        Raises: ModelError: an image size that the network does not take.
        """
        normalised = self._normalised(images)
        try:
            # .forward, since a traced network that is called as a module prints its code when it fails.
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
        """Functions to apply in turn for the same result; each passes one square map on to the next.

        They share the parameters. If the network cannot be split, the list holds this module alone.

        Raises: ModelError: an image size that the network does not take.
        """
        if not isinstance(self.body, fx.GraphModule) or str(self.form) != "channels first":
            return [self]
        images = torch.zeros(1, 3, size_px, size_px, device=self.normalise.mean.device)
        with torch.no_grad():
            self(images)
            first, *others = split_graph(self.body, self._normalised(images))
        # .forward here too: a trial at an unsupported size must not print the code.
        return [lambda images: first.forward(self._normalised(images)), *(part.forward for part in others)]

    def _normalised(self, images: Tensor) -> Tensor:
        return self.normalise(images).contiguous(memory_format=self.memory_format)


class _StoppedAtLayer(nn.Module):
    """A network whose forward pass stops at a layer, for networks that cannot be traced."""

    def __init__(self, module: nn.Module, layer: str, times: int) -> None:
        super().__init__()
        self.module, self.layer, self.times = module, layer, times

    def forward(self, images: Tensor) -> Tensor:
        with capture(self.module, [self.layer], stop_after={self.layer: self.times}) as outputs:
            self.module(images)
        return outputs[self.layer]


def fold_batch_norms(body: fx.GraphModule) -> None:
    """Replace each convolution that feeds only a batch norm by a copy with the batch norm folded in.

    Modules that run more than once are left alone: a folded convolution would change their other runs too.
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
            # It normalises by the batch, so there is nothing to fold.
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
    # The tolerance is one of float32: TensorFloat-32 rounds more coarsely.
    with ieee(), torch.no_grad():
        try:
            return same(whole(images), feature_maps(network, images, [layer])[layer])
        except IMAGE_FAILURES as error:
            if is_out_of_memory(error):
                raise
            return False
