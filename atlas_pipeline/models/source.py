"""One source of networks as a value: what it asks of a spec, what identifies its networks, how to open one.

No torch at import: the registry, ``models.sources``, is read wherever a config is. A source's functions
import what they need when they are called.
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
    """A network as its source makes it.

    preprocess: the network's own, before ``spec.preprocess``. labels: the names of its classes that the
    source states; None where it states none.
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
    """Where networks come from: one value of ``model.source``.

    All functions take the ``ModelSpec`` and raise ModelError where it does not do.

    name: as the config names the source.
    open: makes the network, with its weights; called under the spec's seed.
    own_weights: identity of the weights where the spec names no file and is not ``random``; JSON-able.
    identity: all else of the spec that affects values, beside weights and preprocessing; JSON-able.
    labels: the class names that the source states, without opening the network.
    example: a name for the message about a missing one; None: the source needs no name.
    names_weights: ``weights`` may be the name of weights; else what is not ``random`` is a file.
    states_labels: the labels are the user's own statement: they hold for any weights, and another number of
        them than of logits is a mistake. Else another number means another head, which has no labels.
    leaves_out_labels: a file of labels may leave logits without a name; the open network says how many
        there are.
    called: the name that people see, from ``model.name``; None: that name, else the source's.
    packages: the distributions that its networks are built by, beside torch.
    citation: BibTeX of the entry ``model``, with one ``%s`` for a note; None: nobody asks to be cited.
    """

    name: str
    open: Callable[[ModelSpec], Opened]
    own_weights: Callable[[ModelSpec], dict[str, Any]]
    identity: Callable[[ModelSpec], dict[str, Any]] = _nothing
    labels: Callable[[ModelSpec], Labels] = _no_labels
    example: str | None = None
    names_weights: bool = False
    states_labels: bool = False
    leaves_out_labels: bool = False
    called: Callable[[str | None], str] | None = None
    packages: tuple[str, ...] = ()
    citation: str | None = None
