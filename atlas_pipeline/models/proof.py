"""Checks of a network on a few images before any work depends on it: rows of checks and findings.

Everything is measured on the network as it is used: its forward pass, its cut, its derivatives. B = batch, S
= side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.map_evidence import map_evidence
from atlas_pipeline.models.map_signal import Evidence
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.proof_of_layer import LayerUse, prove_layer
from atlas_pipeline.models.proof_row import Row, Verdict, agreement, guarded, percent
from atlas_pipeline.models.repeatability import (
    ROUNDING,
    Reading,
    describe_mixing_module,
    describe_random_module,
    difference,
    differences,
    draws_random_numbers,
    module_label,
    read,
    read_again,
    read_separately,
)

# Relative. A larger difference is a different answer. Differences between float32 rounding and this are
# bfloat16 arithmetic.
DIFFERENT_ANSWER = 1e-2
# White minus black after normalisation, and the largest distance of their midpoint from 0 in units of that.
_MIN_RANGE, _MAX_RANGE, _MAX_OFFSET = 0.1, 1000.0, 10.0
_MIN_SPREAD, _MAX_SPREAD = 0.05, 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The findings. reading: of the images; None if not even a forward pass succeeded."""

    rows: tuple[Row, ...]
    reading: Reading | None = None
    attributions: dict[str, Tensor] = field(default_factory=dict)


@ieee()
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
    answer_rows = _answer_rows(network, images, layers, first, has_attribution)
    rows += answer_rows.get("", [])
    rows += guarded("", "logits", lambda: _logits_row(network, images, first.logits, names, has_attribution))
    attributions: dict[str, Tensor] = {}
    has_answers = not _has_failure(answer_rows.get("", ()))
    evidence_by_layer: dict[str, Evidence] = {}
    rows += guarded("", "position", lambda: evidence_by_layer.update(map_evidence(network, layers)))
    for layer in layers:
        rows += answer_rows.get(layer, [])
        if _has_failure(answer_rows.get(layer, ())):
            # Other checks would get a different answer each time.
            continue
        if layer in evidence_by_layer:
            rows.append(_position_row(layer, evidence_by_layer[layer]))
        use = uses[layer] if has_answers else replace(uses[layer], attribution="none")
        found = prove_layer(network, images, layer, first, use, cut_at, names)
        rows += found.rows
        if found.attribution is not None:
            attributions[layer] = found.attribution
    return Proof(rows=tuple(rows), reading=first, attributions=attributions)


def _has_failure(rows: Iterable[Row]) -> bool:
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
    value_range = (white - black).abs().amax(dim=(0, 2, 3))
    middle = ((white + black) / 2).abs().amax(dim=(0, 2, 3))
    seen = network.normalise(images)
    mean, spread = float(seen.mean()), float(seen.std())
    is_suspicious = bool((value_range < _MIN_RANGE).any() or (value_range > _MAX_RANGE).any())
    is_suspicious |= bool((middle > _MAX_OFFSET * value_range).any())
    said = f"mean {mean:.2g}, standard deviation {spread:.2g}"
    if is_suspicious:
        said += (
            f" where the network sees it, black and white {float(value_range.min()):.2g} apart; mean and std "
            "of model.preprocess are of values in [0, 1]"
        )
    elif not _MIN_SPREAD <= spread <= _MAX_SPREAD:
        is_suspicious = True
        said += " where the network sees it; look at the images and at model.preprocess"
    return Row(layer="", check="input", verdict="note" if is_suspicious else "ok", value=spread, said=said)


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
        said.append(f"{module_label(*training[0])} is in training mode after eval()")
    if changed:
        said.append(f"a forward changes the buffer '{changed[0]}'")
    if is_random:
        said.append("a forward draws random numbers")
    summary = "; ".join(said) or "evaluation mode, nothing random, nothing changed"
    return Row(layer="", check="state", verdict="note" if said else "ok", said=summary)


def _answer_rows(
    network: Network, images: Tensor, layers: Sequence[str], first: Reading, has_attribution: bool
) -> dict[str, list[Row]]:
    """Check by layer ("" for the logits) that an image gives the same result again and in any batch."""
    rows: dict[str, list[Row]] = {}
    difference_by_check: dict[str, dict[str, float]] = {}

    def again() -> None:
        difference_by_check["same twice"] = differences(read_again(network, images, layers, first), first)

    def alone() -> None:
        difference_by_check["image alone"] = differences([read_separately(network, images, layers)], first)

    for check, measure in (("same twice", again), ("image alone", alone)):
        if failed := guarded("", check, measure):
            rows.setdefault("", []).extend(failed)
            continue
        blame = ""
        if max(difference_by_check[check].values()) > DIFFERENT_ANSWER:
            blame = (describe_random_module if check == "same twice" else describe_mixing_module)(
                network, images
            )
        # The logits come first, so the blame goes to them.
        for layer, apart_by in difference_by_check[check].items():
            is_used = bool(layer) or has_attribution
            row = _answer_row(layer, check, apart_by, blame, is_used)
            rows.setdefault(layer, []).append(row)
            # Give the blame once, not for every layer.
            blame = ""
        if max(difference_by_check[check].values()) > DIFFERENT_ANSWER:
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
    elif apart_by <= DIFFERENT_ANSWER:
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
    if largest_difference := _largest_difference(network, images, logits):
        low, high = float(logits.min()), float(logits.max())
        return Row(
            layer="",
            check="logits",
            verdict="ok",
            value=largest_difference,
            said=f"{num} from {low:.3g} to {high:.3g}",
        )
    return Row(
        layer="",
        check="logits",
        verdict="note",
        value=0.0,
        said=f"the {num} of all images agree, of black and white too; are the weights loaded?",
    )


def _largest_difference(network: Network, images: Tensor, logits: Tensor) -> float:
    """Largest relative difference of any image's logits from the first image's; 0 if it is only rounding."""
    black_and_white = torch.stack([torch.zeros_like(images[0]), torch.ones_like(images[0])])
    try:
        with torch.no_grad():
            everything = torch.cat([logits, network.logits(black_and_white)])
    except Exception as error:
        if is_out_of_memory(error):
            raise
        everything = logits
    largest_difference = difference(everything, everything[:1].expand_as(everything))
    return largest_difference if largest_difference > ROUNDING else 0.0
