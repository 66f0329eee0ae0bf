"""Engines that make a batch of icons at once, by name.

A name is words joined by hyphens: `ours`, `ours-float32`, `ours-cosine`, `lucent-cosine`, `lucent-power`,
`captum-cosine`; for the peers also `-shipped` and `-frozen` (see `inversion_peers.PeerUse`).
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
    """make: directions (B, K) on the CPU, steps -> icons (B, S, S, 3) uint8 on the CPU."""

    name: str
    make: Callable[[Tensor, int], Tensor]


def open_engines(
    names: list[str], case: Case, device: str, captum: Path | None
) -> tuple[list[Engine], list[str]]:
    """The engines that can be had here, each tried for one step; and a line for each that cannot."""
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
        except Exception as error:  # Code from 2020 on today's torch fails in many ways; the rest goes on.
            if kind == "ours":
                raise
            missing.append(f"without {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
        else:
            engines.append(engine)
    return engines, missing


def our_engine(case: Case, words: list[str], device: str) -> Callable[[Tensor, int], Tensor]:
    """The package's own; a word of `ARITHMETICS` or `OBJECTIVES` replaces that setting."""
    settings, feature_map = case.settings, case.cut()
    for word in words:
        if word in ARITHMETICS:
            settings = replace(settings, arithmetic=word)
        elif word in OBJECTIVES:
            settings = replace(settings, objective=word)
        else:
            known = ", ".join((*ARITHMETICS, *OBJECTIVES))
            raise ValueError(f"'{word}' is no arithmetic and no objective: {known}")

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
        raise ImportError("its optim branch is no package; give a checkout's root: --captum PATH")
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
