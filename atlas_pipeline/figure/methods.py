"""A paragraph for a methods section, in Markdown with Pandoc citations of the figure's .bib file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_pipeline.figure.facts import Facts, differing_settings
from atlas_pipeline.figure.words import ALARM_WORDS, fidelity_of

_KINDS = ("an activation atlas", "a class atlas", "a class comparison")
_LAYOUTS = {"umap": " [@mcinnes2018umap]", "tsne": " [@vandermaaten2008tsne]"}
_MARKUP = re.compile(r"([\\`*_\[\]<>#|$@^~&])")


def methods_of(facts: Facts, others: Sequence[Facts] = ()) -> str:
    """Describe how the atlas was made, in order, so that a reader can reproduce it.

    Args: others: facts of the other atlases on a sheet, made in the same way.
    """
    sentences = (
        f"**{ALARM_WORDS}.**" if facts.random_weights else "",
        _network_sentence(facts),
        _sampling_sentence(facts),
        _selection_sentence(facts),
        _layout_sentence(facts),
        _inversion_sentence(facts),
        fidelity_of(facts),
        _attribution_sentence(facts),
        _sheet_sentence(facts, others),
        f"The fingerprint of the atlas is `{facts.fingerprint}`; every setting is in its JSON.",
    )
    return " ".join(filter(None, sentences)) + "\n"


def _escape(text: str) -> str:
    """Escape text for Markdown; for example, two dollar signs in a class's name are not a formula."""
    return _MARKUP.sub(r"\\\1", text)


def _network_sentence(facts: Facts) -> str:
    weights = _escape(facts.weights if facts.random_weights else f"weights: {facts.weights}")
    return (
        f"We made {_KINDS[len(facts.classes)]} [@carter2019atlas] of layer `{facts.atlas.layer}` of "
        f"{_escape(facts.model)} [@model] ({weights}) with {facts.software} [@atlaspipeline]."
    )


def _sampling_sentence(facts: Facts) -> str:
    number = facts.num_sampled
    places = "one spatial position" if facts.positions == 1 else f"{facts.positions} spatial positions"
    border = ", away from its border where it is wide enough" if facts.sample.get("edge") else ""
    return (
        f"In each of {number // facts.positions:,} {_escape(facts.images)} we kept the activation, the "
        f"channel vector, at {places} drawn uniformly (seed {facts.seed}) from the feature map{border}: "
        f"{number:,} activations."
    )


def _selection_sentence(facts: Facts) -> str:
    if not facts.classes:
        return ""
    names, extreme = [_escape(name) for name in facts.classes], "lowest" if facts.against else "highest"
    by_value = f"are among those of {extreme} attribution to {' or to '.join(names)}"
    by_rank = f"have their {extreme} attribution to {names[0]}"
    by_either = f"{by_rank}, or are among those of {extreme} attribution to it"
    rules = {"rank": by_rank, "magnitude": by_value, "both": by_either}
    rule = rules.get(str(facts.selection.get("filter")), by_value)
    return f"Of these we took the {facts.atlas.num_activations:,} that {rule}."


def _layout_sentence(facts: Facts) -> str:
    method = f"{facts.layout_words}{_LAYOUTS.get(str(facts.layout.get('method')), '')}"
    if len(facts.classes) < 2:
        return f"They were laid out by {method}, clipped at outliers and scaled to the unit square."
    left, right = (_escape(name) for name in facts.classes)
    scale = facts.selection["scale"]
    return (
        f"Across, they lie by their attribution to {right} minus that to {left}, clipped at the 99th "
        f"percentile of its size ({scale:.2g} logits); upwards, by {method} in one dimension."
    )


def _inversion_sentence(facts: Facts) -> str:
    atlas, settings = facts.atlas, facts.inversion
    how = f": {_optimisation_words(settings)}" if settings else ""
    return (
        f"Over this lies a grid of {atlas.grid} × {atlas.grid}. For each of its {len(atlas.cells):,} cells "
        f"of at least {facts.min_count} activations, feature inversion [@olah2017feature] made an icon, an "
        f"image whose own activation h stands for the cell's mean activation v{how}."
    )


def _optimisation_words(settings: Mapping[str, Any]) -> str:
    """Describe the objective, the parametrisation and the number of steps."""
    power = settings.get("cosine_power", 0)
    goals = {
        "cosine_power": f"(h·v)^{power + 1:g}^ / (|h| |v|)^{power:g}^ at the map's centre",
        "cosine": "the cosine of h and v at the map's centre",
        "dot": "h·v at the map's centre",
    }
    power_of_precision = settings.get("whitening", 0)
    whitened = {0: "", 1: " in the whitened metric"}.get(
        power_of_precision, f" in the metric of the precision to the power {power_of_precision:g}"
    )
    images = {
        "fourier": "the Fourier coefficients, in decorrelated colours, of images",
        "maco": "the phases, under the magnitudes of real images [@fel2023maco], of images",
    }
    # With warm_steps, icons start from finished ones, which are already robust to the transforms.
    warm, attempts = settings.get("warm_steps"), settings.get("attempts", 1)
    start = "from the icon of the coarser grid's nearest cell" if warm else "at first under random transforms"
    return (
        f"{goals[settings.get('objective', 'cosine_power')]}{whitened} was maximised over "
        f"{images[settings.get('image', 'fourier')]} of {settings['size_px']} × {settings['size_px']} px in "
        f"{warm or settings['steps']} steps of Adam [@kingma2015adam], {start}"
        + (f", the truest of {attempts} attempts" if attempts > 1 else "")
    )


def _sheet_sentence(facts: Facts, others: Sequence[Facts]) -> str:
    named, different = [], differing_settings([facts, *others])
    for other in others:
        name = _escape(other.subject) if other.classes else f"`{other.atlas.layer}`"
        fidelity = other.median("fidelity")
        true = "" if fidelity is None else f", median fidelity {fidelity:.2f}"
        named.append(
            f"{name} ({other.atlas.num_activations:,} activations, {len(other.atlas.cells):,} icons{true})"
        )
    apart = "" if any(other.aligned for other in others) else ", each with a layout of its own"
    but = f" but for settings that differ ({', '.join(different)})" if different else ""
    return f"Made alike{but}{apart}: {'; '.join(named)}." if named else ""


def _attribution_sentence(facts: Facts) -> str:
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
