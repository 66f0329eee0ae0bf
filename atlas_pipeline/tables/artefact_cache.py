"""A cache of values made from artefacts, so that a process makes them once, however many tasks use them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

from atlas_pipeline.engine.stage import Artefact

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class _Content:
    """An artefact as a key. The digest tells an artefact from the one that a forced run made in its place."""

    stage: str
    fingerprint: str
    digest: str
    artefact: Artefact = field(compare=False)


class OncePerArtefact(Generic[ValueT]):
    """A function of an artefact that keeps its latest values. Callers must not change a value.

    Args: function: artefact, and hashable arguments -> value. keep: number of values kept.
    """

    def __init__(self, function: Callable[..., ValueT], keep: int) -> None:
        @lru_cache(maxsize=keep)
        def kept(content: _Content, *arguments: Hashable) -> ValueT:
            return function(content.artefact, *arguments)

        self.function = function
        self._kept = kept

    def __call__(self, artefact: Artefact, *arguments: Hashable) -> ValueT:
        content = _Content(artefact.stage, artefact.fingerprint, artefact.digest, artefact)
        return self._kept(content, *arguments)


def once_per_artefact(keep: int) -> Callable[[Callable[..., ValueT]], OncePerArtefact[ValueT]]:
    """Decorate a function of an artefact so that it runs once a process for each artefact's content.

    Args: keep: number of values kept; the one that was used longest ago goes first.
    """
    return lambda function: OncePerArtefact(function, keep)
