"""Title and caption of a figure, from the facts of its atlas."""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas_pipeline.figure.facts import Facts, differing_settings
from atlas_pipeline.figure.request import Region

ALARM_WORDS = "RANDOM WEIGHTS: nobody trained this network"


def title_of(facts: Facts) -> str:
    """A title that identifies the atlas, in one line."""
    kind = {
        0: "Activation atlas",
        1: f"Class atlas {'' if facts.against else 'of '}{facts.subject}",
        2: f"Class comparison, {' and '.join(facts.classes)}",
    }
    return f"{kind[len(facts.classes)]}: {facts.atlas.layer} of {facts.model}"


def subtitle_of(facts: Facts) -> str:
    """The numbers of activations, cells and icons."""
    atlas = facts.atlas
    grid = f"{atlas.grid} × {atlas.grid} grid"
    return f"{atlas.num_activations:,} activations · {grid} · {len(atlas.cells):,} icons"


def caption_of(facts: Facts, region: Region | None, extras: Sequence[str]) -> str:
    """A caption with all important settings. extras: sentences about what is drawn on top."""
    atlas = facts.atlas
    shown = (
        f" Shown: x {region.x0:.3g} to {region.x1:.3g}, y {region.y0:.3g} to {region.y1:.3g} of the layout."
        if region
        else ""
    )
    return (
        f"{title_of(facts)} {_weights(facts)}. "
        f"{_sample(facts)}, laid out by {facts.layout_words}, under a grid of {atlas.grid} × {atlas.grid} "
        f"cells; a cell of {facts.min_count} or more has an icon, the feature inversion of its mean "
        f"activation.{shown} {fidelity_of(facts)} {' '.join([*extras, ''])}"
        f"{facts.software}, fingerprint {facts.fingerprint}."
    )


def sheet_caption_of(facts: Sequence[Facts]) -> str:
    """A caption with the settings of all atlases of a sheet; ranges where they differ."""
    first = facts[0]
    sizes = " and ".join(f"{grid} × {grid}" for grid in sorted({f.atlas.grid for f in facts}))
    apart = "" if all(f.aligned for f in facts) else ", each by itself"
    layout = (
        "with settings that differ" if "layout" in differing_settings(facts) else f"by {first.layout_method}"
    )
    counts = sorted({f.min_count for f in facts})
    least = f"{counts[0]} or more" + (f", up to {counts[-1]} where atlases differ" if len(counts) > 1 else "")
    layers = ", ".join(dict.fromkeys(f.atlas.layer for f in facts))
    icons = _span([f"{number:,}" for number in sorted(len(f.atlas.cells) for f in facts)])
    medians = sorted(m for m in (f.median("fidelity") for f in facts) if m is not None)
    texts = [f"{median:.2f}" for median in medians]
    fidelity = f" Median fidelity {_span(texts)}." if texts else ""
    return (
        f"{first.model} {_weights(first)} on {first.images}; "
        f"{layers}; laid out {layout}{apart}; {sizes} grids; {icons} icons, "
        f"each the feature inversion of the mean activation of a cell that holds "
        f"{least}.{fidelity} {first.software}, fingerprint of the first "
        f"{first.fingerprint}."
    )


def _span(texts: Sequence[str]) -> str:
    """The first and the last of sorted numbers: ``53 to 57``, or one number if they are equal."""
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _weights(facts: Facts) -> str:
    """The origin of the weights in brackets; brackets within it become commas."""
    words = re.sub(r"\s*\(([^()]*)\)", r", \1", facts.weights)
    return f"({'' if facts.random_weights else 'weights: '}{words})"


def _sample(facts: Facts) -> str:
    atlas = facts.atlas
    if not facts.classes:
        number = atlas.num_activations // facts.positions
        at = "one random position" if facts.positions == 1 else f"{facts.positions} random positions"
        return f"{atlas.num_activations:,} activations, {at} in each of {number:,} {facts.images}"
    num_sampled = facts.selection.get("of")
    total = f" of {num_sampled:,}" if num_sampled else ""
    verb = f"speak {'' if facts.against else 'for '}{facts.subject}"
    return f"The {atlas.num_activations:,}{total} activations of {facts.images} that {verb}"


def fidelity_of(facts: Facts) -> str:
    """The fidelity of the icons, compared with noise and real activations."""
    fidelity, baselines = facts.median("fidelity"), facts.atlas.document.get("baselines", {})
    if fidelity is None:
        return ""
    against = {"noise": "fidelity_noise", "the nearest real activation": "fidelity_nearest"}
    known = [
        f"{words} {baselines[key]:.2f}" for words, key in against.items() if baselines.get(key) is not None
    ]
    comparison = f" ({', '.join(known)})" if known else ""
    round_trip = facts.round_trip
    own = "" if round_trip is None else f"; {round_trip:.0%} of the icons are nearest to their own cell"
    return f"Median fidelity, the cosine of icon and mean activation: {fidelity:.2f}{comparison}{own}."
