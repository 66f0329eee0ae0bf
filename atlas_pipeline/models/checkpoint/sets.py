"""Which tensors of a checkpoint are the network's: under which prefix, in which of several sets. No torch.

Every tensor of a checkpoint has a dotted name, whether dots or nested mappings separate its parts:
``state_dict.model.conv.weight`` is the network's ``conv.weight`` under the prefix ``state_dict.model``. A
prefix marks a set of weights if the names below it are the network's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.checkpoint.formats import STATE_DICT, weights_error
from atlas_pipeline.models.checkpoint.outline import Inert, Outline, StoredTensor

Shape = tuple[int, ...]
# Name parts inserted by wrappers of modules.
INFIXES = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
# Counters of training and of profilers, stored beside the weights.
COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
EMA = re.compile(r"(^|[_-])ema([_-]|$)", re.IGNORECASE)
MAX_NAMED = 6
MAX_CONTAINERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of a checkpoint. parts: its dotted name, split. mapping: id of the mapping that holds it."""

    parts: tuple[str, ...]
    mapping: int
    tensor: StoredTensor


def entries_of(outline: Outline, path: Path) -> list[Entry]:
    """List every tensor of a checkpoint by name.

    Raises: ModelError: there is none, only other things or objects that their own code would have to read.
    """
    found: list[Entry] = []
    modules: list[str] = []
    try:
        _walk(outline.content, (), (), found, modules, [0])
    except (RecursionError, ValueError) as error:
        raise weights_error(path, f"cannot be read as a state dict ({error})", STATE_DICT) from None
    if found:
        return found
    if modules:
        raise weights_error(
            path, f"holds a whole module ({modules[0]}), and loading it would run code: refused", STATE_DICT
        )
    if outline.classes:
        classes = ", ".join(outline.classes[:2]) + (", ..." if len(outline.classes) > 2 else "")
        raise weights_error(
            path,
            f"holds tensors only in objects of {classes}, and loading these would run code: refused",
            STATE_DICT,
        )
    raise weights_error(
        path,
        f"is not a state dict: it holds {_kind(outline.content)}, no named tensors",
        STATE_DICT,
    )


def _kind(content: Any) -> str:
    return "a tensor" if isinstance(content, StoredTensor) else type(content).__name__


def _walk(
    value: Any,
    parts: tuple[str, ...],
    ancestors: tuple[int, ...],
    found: list[Entry],
    modules: list[str],
    visits: list[int],
) -> None:
    """Collect the tensors in mappings below ``value``, and classes of whole modules.

    Tensors in lists have no name and are skipped.
    """
    if not isinstance(value, dict | list | tuple) or id(value) in ancestors:
        return
    visits[0] += 1
    if visits[0] > MAX_CONTAINERS:
        raise ValueError("too many mappings and lists")
    if isinstance(value, Inert) and isinstance(value.state, dict) and "_modules" in value.state:
        modules.append(value.global_name)
        return
    ancestors = (*ancestors, id(value))
    if not isinstance(value, dict):
        for place, item in enumerate(value):
            _walk(item, (*parts, str(place)), ancestors, found, modules, visits)
        return
    for key, item in value.items():
        below = (*parts, *_parts(str(key)))
        if isinstance(item, StoredTensor):
            found.append(Entry(below, id(value), item))
        else:
            _walk(item, below, ancestors, found, modules, visits)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split(".") if part not in INFIXES)


def _names(entries: list[Entry], prefix: tuple[str, ...]) -> dict[tuple[str, ...], Shape]:
    depth = len(prefix)
    return {
        e.parts[depth:]: e.tensor.shape
        for e in entries
        if e.parts[:depth] == prefix and len(e.parts) > depth and e.parts[-1] not in COUNTERS
    }


def averaged_set(entries: list[Entry]) -> str | None:
    """The prefix of the one set of averaged weights (EMA) beside raw weights with the same names and shapes.

    Files keep it for evaluation, so it is used unless `model.weights_key` says otherwise. None if there is no
    such set, or if there are several.
    """
    averaged = dict.fromkeys(
        entry.parts[: place + 1]
        for entry in entries
        for place, part in enumerate(entry.parts[:-1])
        if EMA.search(part) and not any(EMA.search(p) for p in entry.parts[:place])
    )
    raw = [e for e in entries if not any(EMA.search(part) for part in e.parts)]
    sizes = Counter(e.parts[:n] for e in raw if e.parts[-1] not in COUNTERS for n in range(len(e.parts)))
    twins = []
    for prefix in averaged:
        names = _without_common_prefix(_names(entries, prefix))
        if len(names) > 1 and any(
            size == len(names) and _without_common_prefix(_names(raw, other)) == names
            for other, size in sizes.items()
        ):
            twins.append(".".join(prefix))
    return twins[0] if len(twins) == 1 else None


def _without_common_prefix(names: dict[tuple[str, ...], Shape]) -> dict[tuple[str, ...], Shape]:
    while len(names) > 1 and len({name[:1] for name in names}) == 1 and all(len(name) > 1 for name in names):
        names = {name[1:]: shape for name, shape in names.items()}
    return names


def chosen_set(
    entries: list[Entry], expected: Mapping[str, Shape], key: str | None, path: Path
) -> dict[str, StoredTensor]:
    """The tensors of the set that fits a network best, by the network's names; others keep their own names.

    Args:   expected: the network's names and shapes. key: dotted prefix of the set; None: any.
    Raises: ModelError: nothing in the file has the prefix ``key``, or several sets fit equally well.
    """
    own = {_parts(name): name for name in expected}
    start = _parts(key) if key is not None else ()
    within = [e for e in entries if e.parts[: len(start)] == start and len(e.parts) > len(start)]
    if not within:
        raise _unknown_key(entries, own, key, path)
    fits = [
        _Fit.of(within, {p[n:]: tuple(expected[name]) for p, name in own.items()}) for n in range(_depth(own))
    ]
    # If the network is wrapped and the weights are not, its names have an extra leading part.
    dropped, fit = max(enumerate(fits), key=lambda numbered: (numbered[1].score, -numbered[0]))
    own = {parts[dropped:]: name for parts, name in own.items()}
    if not fit.score:
        most = Counter(e.mapping for e in within).most_common(1)[0][0]
        return {".".join(e.parts): e.tensor for e in within if e.mapping == most}
    if len(fit.prefixes) > 1 and fit.score >= len(own):
        sets = " and ".join(f"'{'.'.join(prefix)}'" for prefix in fit.prefixes[:MAX_NAMED])
        raise weights_error(
            path,
            f"holds {len(fit.prefixes)} sets of weights that fit equally well, {sets}",
            "choose one with model.weights_key",
        )
    names = fit.beneath(fit.prefixes[0])
    return {own.get(rest, ".".join(rest)): tensor for rest, tensor in names.items()}


@dataclass(frozen=True, slots=True)
class _Fit:
    """How well a checkpoint's prefixes fit a network: the best score, and the prefixes that reach it."""

    entries: list[Entry]
    shapes: Mapping[tuple[str, ...], Shape]
    score: int
    prefixes: list[tuple[str, ...]]

    @staticmethod
    def of(entries: list[Entry], shapes: Mapping[tuple[str, ...], Shape]) -> _Fit:
        """Score the prefixes: 1 for a known name, 2 with the right shape.

        The fewest unexpected names break ties.
        """
        scores: Counter[tuple[str, ...]] = Counter()
        for entry in entries:
            if entry.parts[-1] in COUNTERS:
                continue
            for n in range(len(entry.parts)):
                shape = shapes.get(entry.parts[n:])
                if shape is not None:
                    scores[entry.parts[:n]] += 2 if shape == entry.tensor.shape else 1
        best = max(scores.values(), default=0)
        fit = _Fit(entries, shapes, best, [prefix for prefix, score in scores.items() if score == best])
        return fit if len(fit.prefixes) < 2 else fit._with_ties_broken()

    def beneath(self, prefix: tuple[str, ...]) -> dict[tuple[str, ...], StoredTensor]:
        """The tensors below a prefix, from mappings that hold any of the network's.

        This excludes the optimiser's tensors.
        """
        under = [e for e in self.entries if e.parts[: len(prefix)] == prefix and len(e.parts) > len(prefix)]
        used = {e.mapping for e in under if e.parts[len(prefix) :] in self.shapes}
        return {e.parts[len(prefix) :]: e.tensor for e in under if e.mapping in used}

    def _with_ties_broken(self) -> _Fit:
        sets = {prefix: self.beneath(prefix) for prefix in self.prefixes}
        spare = {prefix: sum(rest not in self.shapes for rest in names) for prefix, names in sets.items()}
        least = min(spare.values())
        distinct: list[tuple[str, ...]] = []
        for prefix in self.prefixes:
            # Two names for the same storage count as one set.
            if spare[prefix] == least and not any(sets[prefix] == sets[other] for other in distinct):
                distinct.append(prefix)
        return _Fit(self.entries, self.shapes, self.score, distinct)


def _depth(own: Mapping[tuple[str, ...], str]) -> int:
    """Number of ways, at least 1, to remove leading parts common to all names, including removing none."""
    depth = 1
    while len({parts[:depth] for parts in own}) == 1 and all(len(parts) > depth for parts in own):
        depth += 1
    return depth


def _unknown_key(
    entries: list[Entry], own: Mapping[tuple[str, ...], str], key: str | None, path: Path
) -> ModelError:
    names = [".".join(e.parts[:n]) for e in entries for n in range(1, len(e.parts)) if e.parts[n:] in own]
    known = list(dict.fromkeys(names))[:MAX_NAMED]
    have = f"sets that fit: {', '.join(known)}" if known else "it has one set, without a key"
    return weights_error(path, f"has nothing under model.weights_key '{key}'", have)
