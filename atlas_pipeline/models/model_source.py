"""A source of networks as a value: its demands on a spec, the identity of its networks, how to open one.

No torch at import, since the registry ``models.sources`` is read wherever a config is. A source's functions
import their dependencies when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from atlas_pipeline.models.preprocess import Preprocess
    from atlas_pipeline.models.spec import ModelSpec

Labels = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A network as its source opens it.

    preprocess: the network's own, before ``spec.preprocess`` is applied. labels: class names stated by the
    source, or None.
    """

    module: nn.Module
    preprocess: Preprocess
    labels: Labels = None


def _nothing(spec: ModelSpec) -> dict[str, Any]:
    return {}


def _no_labels(spec: ModelSpec) -> Labels:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A source of networks, which is one value of ``model.source``.

    All functions take the ``ModelSpec`` and raise ModelError if it is invalid.

    name: the source's name in a config.
    open: opens the network with its weights; called under the spec's seed.
    own_weights: identity of the weights if the spec neither names a file nor is ``random``; JSON-able.
    identity: everything else in the spec that affects values, except weights and preprocessing; JSON-able.
    labels: class names stated by the source, without opening the network.
    example: a name for the message about a missing name; None: the source needs no name.
    has_named_weights: whether ``weights`` may be the name of weights; otherwise it is ``random`` or a file.
    has_user_labels: whether the labels are the user's own. They then hold for any weights, and a number other
    than that of the logits is an error. For other sources, a different number means another head, without
    labels.
    allows_missing_labels: whether a labels file may leave logits without a name; the open network knows their
    number.
    display_name: from ``model.name`` to the name that people see; None: that name, or else the source's.
    packages: distributions that build its networks, besides torch.
    citation: BibTeX of the entry ``model``, with one ``%s`` for a note; None: no citation.
    """

    name: str
    open: Callable[[ModelSpec], Opened]
    own_weights: Callable[[ModelSpec], dict[str, Any]]
    identity: Callable[[ModelSpec], dict[str, Any]] = _nothing
    labels: Callable[[ModelSpec], Labels] = _no_labels
    example: str | None = None
    has_named_weights: bool = False
    has_user_labels: bool = False
    allows_missing_labels: bool = False
    display_name: Callable[[str | None], str] | None = None
    packages: tuple[str, ...] = ()
    citation: str | None = None
