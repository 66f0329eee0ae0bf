"""A paragraph for a methods section: Markdown, with Pandoc's citations of the figure's own .bib."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_pipeline.figure.facts import Facts, differing
from atlas_pipeline.figure.words import ALARM_WORDS, fidelity_of

_KINDS = ("an activation atlas", "a class atlas", "a class comparison")
_LAYOUTS = {"umap": " [@mcinnes2018umap]", "tsne": " [@vandermaaten2008tsne]"}
_MARKUP = re.compile(r"([\\`*_\[\]<>#|$@^~&])")


def methods_of(facts: Facts, others: Sequence[Facts] = ()) -> str:
    """What a reader needs to repeat the atlas, in the order in which it was done.

    Args: others: of the atlases that stand beside it on a sheet, made alike.
    """
    sentences = (
        f"**{ALARM_WORDS}.**" if facts.random_weights else "",
        _made(facts),
        _sampled(facts),
        _selected(facts),
        _laid_out(facts),
        _inverted(facts),
        fidelity_of(facts),
        _attributed(facts),
        _others(facts, others),
        f"The fingerprint of the atlas is `{facts.fingerprint}`; every setting is in its JSON.",
    )
    return " ".join(filter(None, sentences)) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown takes as it is: two dollar signs in a class's name are no formula."""
    return _MARKUP.sub(r"\\\1", text)


def _made(facts: Facts) -> str:
    weights = _plain(facts.weights if facts.random_weights else f"weights: {facts.weights}")
    return (
        f"We made {_KINDS[len(facts.classes)]} [@carter2019atlas] of layer `{facts.atlas.layer}` of "
        f"{_plain(facts.model)} [@model] ({weights}) with {facts.software} [@atlaspipeline]."
    )


def _sampled(facts: Facts) -> str:
    number = facts.num_sampled
    places = "one spatial position" if facts.positions == 1 else f"{facts.positions} spatial positions"
    border = ", away from its border where it is wide enough" if facts.sample.get("edge") else ""
    return (
        f"In each of {number // facts.positions:,} {_plain(facts.images)} we kept the activation, the "
        f"channel vector, at {places} drawn uniformly (seed {facts.seed}) from the feature map{border}: "
        f"{number:,} activations."
    )


def _selected(facts: Facts) -> str:
    if not facts.classes:
        return ""
    names, extreme = [_plain(name) for name in facts.classes], "lowest" if facts.against else "highest"
    by_value = f"are among those of {extreme} attribution to {' or to '.join(names)}"
    by_rank = f"have their {extreme} attribution to {names[0]}"
    by_either = f"{by_rank}, or are among those of {extreme} attribution to it"
    rules = {"rank": by_rank, "magnitude": by_value, "both": by_either}
    rule = rules.get(str(facts.selection.get("filter")), by_value)
    return f"Of these we took the {facts.atlas.num_activations:,} that {rule}."


def _laid_out(facts: Facts) -> str:
    method = f"{facts.layout_words}{_LAYOUTS.get(str(facts.layout.get('method')), '')}"
    if len(facts.classes) < 2:
        return f"They were laid out by {method}, clipped at outliers and scaled to the unit square."
    left, right = (_plain(name) for name in facts.classes)
    scale = facts.selection["scale"]
    return (
        f"Across, they lie by their attribution to {right} minus that to {left}, clipped at the 99th "
        f"percentile of its size ({scale:.2g} logits); upwards, by {method} in one dimension."
    )


def _inverted(facts: Facts) -> str:
    atlas, settings = facts.atlas, facts.inversion
    how = f": {_optimised(settings)}" if settings else ""
    return (
        f"Over this lies a grid of {atlas.grid} × {atlas.grid}. For each of its {len(atlas.cells):,} cells "
        f"of at least {facts.min_count} activations, feature inversion [@olah2017feature] made an icon, an "
        f"image whose own activation h stands for the cell's mean activation v{how}."
    )


def _optimised(settings: Mapping[str, Any]) -> str:
    """What is maximised, over what, for how long."""
    power = settings.get("cosine_power", 0)
    goals = {
        "cosine_power": f"(h·v)^{power + 1:g}^ / (|h| |v|)^{power:g}^ at the map's centre",
        "cosine": "the cosine of h and v at the map's centre",
        "dot": "h·v at the map's centre",
    }
    whitened = " in the whitened metric" if settings.get("metric") == "whitened" else ""
    images = {
        "fourier": "the Fourier coefficients, in decorrelated colours, of images",
        "maco": "the phases, under the magnitudes of real images [@fel2023maco], of images",
    }
    # Warm icons start from finished ones, which the transforms have made robust already.
    warm, attempts = settings.get("warm_steps"), settings.get("attempts", 1)
    start = "from the icon of the coarser grid's nearest cell" if warm else "at first under random transforms"
    return (
        f"{goals[settings.get('objective', 'cosine_power')]}{whitened} was maximised over "
        f"{images[settings.get('image', 'fourier')]} of {settings['size_px']} × {settings['size_px']} px in "
        f"{warm or settings['steps']} steps of Adam [@kingma2015adam], {start}"
        + (f", the truest of {attempts} attempts" if attempts > 1 else "")
    )


def _others(facts: Facts, others: Sequence[Facts]) -> str:
    named, different = [], differing([facts, *others])
    for of in others:
        name = _plain(of.subject) if of.classes else f"`{of.atlas.layer}`"
        fidelity = of.median("fidelity")
        true = "" if fidelity is None else f", median fidelity {fidelity:.2f}"
        named.append(
            f"{name} ({of.atlas.num_activations:,} activations, {len(of.atlas.cells):,} icons{true})"
        )
    apart = "" if any(of.aligned for of in others) else ", each with a layout of its own"
    but = f" but for settings that differ ({', '.join(different)})" if different else ""
    return f"Made alike{but}{apart}: {'; '.join(named)}." if named else ""


def _attributed(facts: Facts) -> str:
    if (facts.atlas.cells["class_index"] < 0).all():
        return ""
    method = facts.sample.get("attribution_method", "gradient")
    words = {
        "gradient": "the inner product of the activation and the logit's gradient at its position",
        "integrated": "its inner product with the logit's gradient at its position, averaged over "
        f"{facts.sample.get('integrated_steps', 8)} points on the path from zero "
        "[@sundararajan2017axiomatic]",
        "ablation": "what the logit loses without it",
    }
    smooth = method != "ablation" and facts.sample.get("maxpool_gradient") == "smooth"
    relaxed = ", with relaxed max-pooling [@olah2018blocks]" if smooth else ""
    return f"The attribution of an activation to a class is {words[method]}{relaxed}."
