"""Engines that make a batch of icons at once, by name.

A name consists of words joined by hyphens: `ours`, `ours-float32`, `ours-cosine`, `ours-bank`,
`lucent-cosine`, `lucent-power`, `captum-cosine`. Peers also accept `-shipped` and `-frozen` (see
`peers.PeerUse`).
B = icon in a batch, K = channel, S = icon side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
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
    names: list[str], case: Case, device: str, captum: Path | None, bank: Path | None = None
) -> tuple[list[Engine], list[str]]:
    """Open the engines and try each for one step.

    Args:    captum: root of a checkout of its optim branch. bank: folder of the icons that `ours-bank` starts
             from.
    Returns: the engines that work, and a message for each peer that does not.
    Raises:  SystemExit: an unknown engine name.
    """
    makers = {"ours": partial(our_engine, bank=bank), "lucent": lucent_engine, "captum": captum_engine}
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


def our_engine(
    case: Case, words: list[str], device: str, bank: Path | None = None
) -> Callable[[Tensor, int], Tensor]:
    """The engine of this package; a word from `ARITHMETICS` or `OBJECTIVES` overrides that setting.

    With the word `bank`, each icon starts from the banked icon of the nearest direction, and all its steps
    are those of a warm start.
    """
    settings, feature_map = case.settings, case.cut()
    for word in words:
        if word in ARITHMETICS:
            settings = replace(settings, arithmetic=word)
        elif word in OBJECTIVES:
            settings = replace(settings, objective=word)
        elif word != "bank":
            known = ", ".join((*ARITHMETICS, *OBJECTIVES, "bank"))
            raise ValueError(f"'{word}' is neither an arithmetic, an objective nor the bank; known: {known}")
    start = _nearest_icons(case, bank) if "bank" in words else None

    def make(directions: Tensor, steps: int) -> Tensor:
        return invert(
            feature_map,
            directions,
            range(len(directions)),
            replace(settings, **({"steps": steps} if start is None else {"warm_steps": steps})),
            start=None if start is None else start(directions),
            device=device,
            batch_size=len(directions),
        ).images[..., :3]

    return make


def _nearest_icons(case: Case, folder: Path | None) -> Callable[[Tensor], Tensor]:
    """A function from directions (B, K) to the banked icons (B, S, S, P) of the nearest directions."""
    import numpy as np

    from atlas_pipeline.pictures.icon_starts import nearest_starts
    from atlas_pipeline.tables.icon_bank import open_bank, read_bank

    if folder is None:
        raise SystemExit("ours-bank needs a bank: --bank FOLDER, as `atlas bank` prints it")
    icons = read_bank(folder, open_bank(folder).digest, case.layer)
    if icons is None:
        raise SystemExit(f"{folder} has no icons of {case.layer}")
    return lambda directions: torch.tensor(
        nearest_starts(np.asarray(directions), None, icons, least_cosine=-1.0).images
    )


def _find_captum(path: Path | None) -> None:
    if path is None:
        raise ImportError("the optim branch is not a package; pass the root of a checkout: --captum PATH")
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
