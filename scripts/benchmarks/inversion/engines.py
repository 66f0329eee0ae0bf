"""Engines that make a batch of icons at once, by name.

A name consists of words joined by hyphens: `ours`, `ours-float32`, `ours-cosine`, `lucent-cosine`,
`lucent-power`, `captum-cosine`. Peers also accept `-shipped` and `-frozen` (see `peers.PeerUse`).
B = icon in a batch, K = channel, S = icon side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from atlas_pipeline.inversion import invert
from atlas_pipeline.inversion.settings import ARITHMETICS, OBJECTIVES
from scripts.benchmarks.inversion.cases import Case
from scripts.benchmarks.inversion.peers import captum_engine, lucent_engine


@dataclass(frozen=True)
class Engine:
    """A named engine. make: directions (B, K) on the CPU, steps -> icons (B, S, S, 3) uint8 on the CPU."""

    name: str
    make: Callable[[Tensor, int], Tensor]


def open_engines(
    names: list[str], case: Case, device: str, captum: Path | None
) -> tuple[list[Engine], list[str]]:
    """Open the engines and try each for one step.

    Returns: the engines that work, and a message for each peer that does not.
    Raises:  SystemExit: an unknown engine name.
    """
    makers = {"ours": our_engine, "lucent": lucent_engine, "captum": captum_engine}
    engines, missing = [], []
    for name in names:
        kind, *words = name.split("-")
        if kind not in makers:
            raise SystemExit(f"engine '{name}' is unknown; names begin with {', '.join(makers)}")
        try:
            if kind == "captum":
                _find_captum(captum)
            engine = Engine(name, makers[kind](case, words, device))
            engine.make(case.directions[:1], 1)
        except Exception as error:  # Peers written for old versions of torch fail in many ways.
            if kind == "ours":
                raise
            missing.append(f"skipping {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
        else:
            engines.append(engine)
    return engines, missing


def our_engine(case: Case, words: list[str], device: str) -> Callable[[Tensor, int], Tensor]:
    """The engine of this package; a word from `ARITHMETICS` or `OBJECTIVES` overrides that setting."""
    settings, feature_map = case.settings, case.cut()
    for word in words:
        if word in ARITHMETICS:
            settings = replace(settings, arithmetic=word)
        elif word in OBJECTIVES:
            settings = replace(settings, objective=word)
        else:
            known = ", ".join((*ARITHMETICS, *OBJECTIVES))
            raise ValueError(f"'{word}' is neither an arithmetic nor an objective; known: {known}")

    def make(directions: Tensor, steps: int) -> Tensor:
        return invert(
            feature_map,
            directions,
            range(len(directions)),
            replace(settings, steps=steps),
            device=device,
            batch_size=len(directions),
        ).images[..., :3]

    return make


def _find_captum(path: Path | None) -> None:
    if path is None:
        raise ImportError("the optim branch is not a package; pass the root of a checkout: --captum PATH")
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
