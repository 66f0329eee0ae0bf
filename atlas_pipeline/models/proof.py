"""Checks of a network on a few images before any work depends on it: rows of checks and findings.

Everything is measured on the network as it is used: its forward pass, its cut, its derivatives. B = batch, S
= side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from atlas_pipeline.models.image_size import is_out_of_memory
from atlas_pipeline.models.map_evidence import map_evidence
from atlas_pipeline.models.map_signal import Evidence
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.proof_of_layer import LayerUse, prove_layer
from atlas_pipeline.models.proof_row import Row, Verdict, agreement, guarded, percent
from atlas_pipeline.models.repeatability import (
    ROUNDING,
    Reading,
    blame_for_chance,
    blame_for_mixing,
    difference,
    differences,
    draws_random_numbers,
    named,
    read,
    read_again,
    read_apart,
)

# Relative. A larger difference is a different answer. Differences between float32 rounding and this are
# bfloat16 arithmetic.
ANOTHER_ANSWER = 1e-2
# White minus black after normalisation, and the largest distance of their midpoint from 0 in units of that.
_LEAST_RANGE, _MOST_RANGE, _MOST_OFFSET = 0.1, 1000.0, 10.0
_LEAST_SPREAD, _MOST_SPREAD = 0.05, 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The findings. reading: of the images; None if not even a forward pass succeeded."""

    rows: tuple[Row, ...]
    reading: Reading | None = None
    attributions: dict[str, Tensor] = field(default_factory=dict)


def prove(
    network: Network,
    images: Tensor,
    uses: Mapping[str, LayerUse],
    cut_at: Callable[[str], nn.Module],
    names: Sequence[str] = (),
) -> Proof:
    """Check a network and some of its layers; an error in the network's code becomes a failed row.

    Args:
        images: (B, 3, S, S) float32 in [0, 1], on the network's device; at least two, not all equal.
        uses: layer -> what it will be used for; each layer has a spatial map.
        cut_at: gives the network cut at a layer, as ``cut`` does.
        names: names of the images, for messages.
    Raises: torch.OutOfMemoryError: the images do not fit.
    """
    layers = list(uses)
    has_attribution = any(use.attribution != "none" for use in uses.values())
    names = names or [f"image {number}" for number in range(len(images))]
    rows = [_input_row(network, images)]
    reading: list[Reading] = []
    failed = guarded("", "forward", lambda: reading.append(read(network, images, layers)))
    if failed:
        return Proof(rows=(*rows, *failed))
    first = reading[0]
    rows += guarded("", "state", lambda: _state_row(network, images))
    of_answers = _answer_rows(network, images, layers, first, has_attribution)
    rows += of_answers.get("", [])
    rows += guarded("", "logits", lambda: _logits_row(network, images, first.logits, names, has_attribution))
    attributions: dict[str, Tensor] = {}
    has_answers = not _fail(of_answers.get("", ()))
    of_positions: dict[str, Evidence] = {}
    rows += guarded("", "position", lambda: of_positions.update(map_evidence(network, layers)))
    for layer in layers:
        rows += of_answers.get(layer, [])
        if _fail(of_answers.get(layer, ())):
            # Other checks would get a different answer each time.
            continue
        if layer in of_positions:
            rows.append(_position_row(layer, of_positions[layer]))
        use = uses[layer] if has_answers else replace(uses[layer], attribution="none")
        found = prove_layer(network, images, layer, first, use, cut_at, names)
        rows += found.rows
        if found.attribution is not None:
            attributions[layer] = found.attribution
    return Proof(rows=tuple(rows), reading=first, attributions=attributions)


def _fail(rows: Iterable[Row]) -> bool:
    return any(row.verdict == "fails" for row in rows)


def _position_row(layer: str, evidence: Evidence) -> Row:
    """Check that a change of one patch of the image shows at its position in the map."""
    said = f"a changed patch {evidence}"
    if evidence.verdict == "untold":
        said = f"whether the map follows the image {evidence}"
    if evidence.verdict == "contradicted":
        said = f"the map does not follow the image: {said}; take another layer"
    verdicts: dict[str, Verdict] = {"shown": "ok", "untold": "note", "contradicted": "fails"}
    return Row(layer=layer, check="position", verdict=verdicts[evidence.verdict], said=said)


def _input_row(network: Network, images: Tensor) -> Row:
    """Check that black and white differ after normalisation, and that the images have some contrast."""
    black, white = (network.normalise(torch.full_like(images[:1], level)) for level in (0.0, 1.0))
    extent = (white - black).abs().amax(dim=(0, 2, 3))
    middle = ((white + black) / 2).abs().amax(dim=(0, 2, 3))
    seen = network.normalise(images)
    mean, spread = float(seen.mean()), float(seen.std())
    is_absurd = bool((extent < _LEAST_RANGE).any() or (extent > _MOST_RANGE).any())
    is_absurd |= bool((middle > _MOST_OFFSET * extent).any())
    said = f"mean {mean:.2g}, standard deviation {spread:.2g}"
    if is_absurd:
        said += (
            f" where the network sees it, black and white {float(extent.min()):.2g} apart; mean and std of "
            "model.preprocess are of values in [0, 1]"
        )
    elif not _LEAST_SPREAD <= spread <= _MOST_SPREAD:
        is_absurd = True
        said += " where the network sees it; look at the images and at model.preprocess"
    return Row(layer="", check="input", verdict="note" if is_absurd else "ok", value=spread, said=said)


def _state_row(network: Network, images: Tensor) -> Row:
    """Look for modules in training mode, buffers changed by a forward pass, and random numbers in it."""
    training = [(name, module) for name, module in network.module.named_modules() if module.training]
    # _version counts in-place writes; a forward pass should not write to buffers.
    before = {name: buffer._version for name, buffer in network.module.named_buffers()}
    is_random = draws_random_numbers(network, images[:2])
    buffers = dict(network.module.named_buffers())
    changed = [name for name, version in before.items() if buffers[name]._version != version]
    said = []
    if training:
        said.append(f"{named(*training[0])} is in training mode after eval()")
    if changed:
        said.append(f"a forward changes the buffer '{changed[0]}'")
    if is_random:
        said.append("a forward draws random numbers")
    words = "; ".join(said) or "evaluation mode, nothing random, nothing changed"
    return Row(layer="", check="state", verdict="note" if said else "ok", said=words)


def _answer_rows(
    network: Network, images: Tensor, layers: Sequence[str], first: Reading, has_attribution: bool
) -> dict[str, list[Row]]:
    """Check by layer ("" for the logits) that an image gives the same result again and in any batch."""
    rows: dict[str, list[Row]] = {}
    apart: dict[str, dict[str, float]] = {}

    def again() -> None:
        apart["same twice"] = differences(read_again(network, images, layers, first), first)

    def alone() -> None:
        apart["image alone"] = differences([read_apart(network, images, layers)], first)

    for check, measure in (("same twice", again), ("image alone", alone)):
        if failed := guarded("", check, measure):
            rows.setdefault("", []).extend(failed)
            continue
        blame = ""
        if max(apart[check].values()) > ANOTHER_ANSWER:
            blame = (blame_for_chance if check == "same twice" else blame_for_mixing)(network, images)
        # The logits come first, so the blame goes to them.
        for layer, apart_by in apart[check].items():
            is_used = bool(layer) or has_attribution
            row = _answer_row(layer, check, apart_by, blame, is_used)
            rows.setdefault(layer, []).append(row)
            # Give the blame once, not for every layer.
            blame = ""
        if max(apart[check].values()) > ANOTHER_ANSWER:
            # Random answers also differ for an image alone; one row is enough.
            break
    return rows


def _answer_row(layer: str, check: str, apart_by: float, blame: str, is_used: bool) -> Row:
    what = {
        "same twice": "two forwards of the same images",
        "image alone": "an image alone and the same image in a batch",
    }[check]
    if apart_by <= ROUNDING:
        verdict: Verdict = "ok"
        said = agreement(apart_by)
    elif apart_by <= ANOTHER_ANSWER:
        verdict = "note"
        said = f"{what} differ by {percent(apart_by)}: more than float32 rounding"
    else:
        verdict = "fails" if is_used else "note"
        said = f"{what} differ by {percent(apart_by)}" + (f": {blame}" if blame else "")
    return Row(layer=layer, check=check, verdict=verdict, value=apart_by, said=said)


def _logits_row(
    network: Network, images: Tensor, logits: Tensor, names: Sequence[str], has_attribution: bool
) -> Row:
    """Check that the logits are finite, differ between images, and are no probabilities (which saturate)."""
    finite = torch.isfinite(logits).all(dim=1)
    if not bool(finite.all()):
        return Row(
            layer="",
            check="logits",
            verdict="fails" if has_attribution else "note",
            said=f"NaN or infinite logits for {names[int(finite.int().argmin())]}; "
            "check the weights and model.preprocess",
        )
    num = f"{logits.shape[1]} logits"
    values = logits.double()
    in_unit = bool((values >= 0).all() and (values <= 1).all())
    sums_to_1 = bool((values.sum(dim=1) - 1).abs().max() < 1e-3)
    if in_unit and logits.shape[1] > 1:
        last = "softmax" if sums_to_1 else "sigmoid"
        return Row(
            layer="",
            check="logits",
            verdict="note",
            said=f"{num} from 0 to 1, as a {last} gives: attributions to probabilities fade where the "
            f"network is sure; return logits, without the {last}",
        )
    if apart := _largest_apart(network, images, logits):
        low, high = float(logits.min()), float(logits.max())
        return Row(
            layer="", check="logits", verdict="ok", value=apart, said=f"{num} from {low:.3g} to {high:.3g}"
        )
    return Row(
        layer="",
        check="logits",
        verdict="note",
        value=0.0,
        said=f"the {num} of all images agree, of black and white too; are the weights loaded?",
    )


def _largest_apart(network: Network, images: Tensor, logits: Tensor) -> float:
    """Largest relative difference of any image's logits from the first image's; 0 if it is only rounding."""
    plain = torch.stack([torch.zeros_like(images[0]), torch.ones_like(images[0])])
    try:
        with torch.no_grad():
            everything = torch.cat([logits, network.logits(plain)])
    except Exception as error:
        if is_out_of_memory(error):
            raise
        everything = logits
    apart = difference(everything, everything[:1].expand_as(everything))
    return apart if apart > ROUNDING else 0.0
