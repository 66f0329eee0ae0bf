"""The ends of a network's blocks, and those of them that suit an atlas.

All that a network computes passes through the end of a block: nothing bypasses it, as a residual connection
bypasses the convolutions within a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from torch import fx, nn

from atlas_pipeline.models.graph import trace
from atlas_pipeline.models.layers import LayerInfo
from atlas_pipeline.models.network import Network

# Modules that only hold others. A block is a module of the user's own kind, or one that stands alone.
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# A layer that ends with one of these shows what the layer before it shows.
_NOT_ENDS = ("Pool", "Dropout", "Identity")
_PROPOSED, _LEAST_PROPOSED = 6, 4
# A random position is never on the border: a smaller map would have none.
_LEAST_SIDE = 3
# Larger maps are of edges and textures.
_MOST_SIDE = 32


def block_ends(network: Network) -> list[str]:
    """The layers at the ends of blocks, in the order in which a forward pass finishes them.

    Where maps of one size are computed by modules with parts (residual blocks, inception modules,
    transformer blocks), these are the blocks. Elsewhere, as in VGG, the last map of a size ends a block. Of
    layers with equal outputs the outermost is taken. In a network that cannot be traced, the order and the
    names of its modules decide.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> block_ends(open_network(ModelSpec(source="demo")))[-2:]
    ['mixed4', 'mixed5']
    """
    maps = [name for name, run in network.runs.items() if run.is_map and run.times == 1]
    outermost = _trunk(network.module, maps)
    if outermost is None:
        outermost = {name: name for name in _in_containers(network.module, maps)}
    modules = dict(network.module.named_modules())
    blocks = _blocks(list(outermost), modules)
    trunk = [name for name, outer in outermost.items() if name == outer]
    ends = list[str]()
    for _, same_size in groupby(trunk, key=lambda name: _map_size(network, name)):
        group = list(same_size)
        found = [name for name in group if name in blocks]
        if not found:
            found = [name for name in group if not any(kind in network.runs[name].kind for kind in _NOT_ENDS)]
            found = [name for name in found if not any(modules[name].children())][-1:]
        ends += found
    # A network of one module has no blocks.
    return ends or maps


def proposed_layers(ends: Sequence[LayerInfo]) -> list[str]:
    """Four to six ends of blocks that suit an atlas, evenly spaced in depth, with the last.

    Their maps have a position off the border, and are small enough that a position sees parts of objects.

    >>> def of_side(side): return LayerInfo(f"of {side}", "Block", 8, side, side, 32, 8, False, "")
    >>> proposed_layers([of_side(side) for side in (112, 56, 28, 14, 7, 7, 1)])
    ['of 28', 'of 14', 'of 7', 'of 7']
    """
    usable = [end for end in ends if min(end.height, end.width) >= _LEAST_SIDE] or list(ends)
    deep = [end for end in usable if max(end.height, end.width) <= _MOST_SIDE]
    if len(deep) < _LEAST_PROPOSED:
        deep = usable[-max(_LEAST_PROPOSED, len(deep)) :]
    places = np.linspace(0, len(deep) - 1, min(_PROPOSED, len(deep))).round().astype(int)
    return [deep[place].name for place in places]


def _trunk(module: nn.Module, maps: Sequence[str]) -> dict[str, str] | None:
    """The layers that everything passes through, each with the outermost layer of equal output.

    None: the network cannot be traced.
    """
    traced = trace(module)
    if traced is None:
        return None
    passed = _passed_nodes(traced.graph)
    found = {name: traced.outputs[name] for name in maps if traced.outputs.get(name) in passed}
    outermost: dict[fx.Node, str] = {}
    for name, node in found.items():
        outermost[node] = min(outermost.get(node, name), name, key=len)
    return {name: outermost[node] for name, node in found.items()}


def _passed_nodes(graph: fx.Graph) -> set[fx.Node]:
    """The nodes through which every path from the images to the logits leads."""
    nodes = list(graph.nodes)
    place = {node: number for number, node in enumerate(nodes)}
    passed, constant, reach = set[fx.Node](), set[fx.Node](), -1
    for number, node in enumerate(nodes):
        inputs = node.all_input_nodes
        if _is_constant(node) or (inputs and constant.issuperset(inputs)):
            constant.add(node)
            continue
        # Values computed earlier are used up to here at most.
        if reach <= number:
            passed.add(node)
        reach = max([reach, *(place[user] for user in node.users)])
    return passed


def _is_constant(node: fx.Node) -> bool:
    """Whether a node is a parameter or a size: images do not pass through it."""
    if node.op == "call_function":
        return node.target is getattr and node.args[1] in ("shape", "ndim", "device", "dtype")
    return node.op == "get_attr" or (node.op == "call_method" and node.target in ("size", "dim"))


def _in_containers(module: nn.Module, maps: Sequence[str]) -> list[str]:
    """The layers that lie in containers only, for networks that cannot be traced."""
    modules = dict(module.named_modules())

    def outer(name: str) -> list[str]:
        parts = name.split(".")
        return [".".join(parts[:end]) for end in range(1, len(parts))]

    return [
        name for name in maps if all(type(modules[above]) in _CONTAINERS for above in outer(name))
    ] or list(maps)


def _blocks(trunk: Sequence[str], modules: Mapping[str, nn.Module]) -> set[str]:
    """The layers with parts of their own, without those within a block.

    A block's kind occurs several times. A module whose kind occurs once may hold the whole network.
    """
    with_parts = [name for name in trunk if any(modules[name].children())]
    kinds = Counter(type(modules[name]) for name in with_parts)
    hides = [
        name
        for name in with_parts
        if kinds[type(modules[name])] > 1 and type(modules[name]) not in _CONTAINERS
    ]
    return {name for name in with_parts if not any(name.startswith(f"{outer}.") for outer in hides)}


def _map_size(network: Network, name: str) -> tuple[int, int]:
    run = network.runs[name]
    assert run.form is not None, name
    assert run.shape is not None, name
    return run.form.grid(run.shape)
