"""The numbers of families and units under tuning, as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.models.network_name import model_title
from atlas_pipeline.numerics.tuning import Map, correlation
from atlas_pipeline.tables.tuning_table import KnownFamily, RealResponses, stimulus_set, turned_mean


def family_numbers(
    family: KnownFamily,
    facts: Mapping[str, Any],
    maps: Map,
    real: RealResponses,
    inputs: Mapping[int, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """A family for the JSON.

    Args: facts: of the notes of `tuning_families`. maps: (U, O, C) of the layer. inputs: by unit of the
          members shown, the units of the layer before that drive it most at its patch, and their shares.
    """
    curves = maps[family.members][:, :, family.condition]
    others, own = real.curves(own=False), real.curves(own=True)
    joint = family.joint(maps)[:, family.condition]
    return {
        "family": family.number + 1,
        "stimulus": facts["named"],
        "period": family.period,
        "agreement": facts["agreement"],
        "largest_gap": facts["largest_gap"],
        "joint": joint.tolist(),
        "real": {
            "num_patches": len(real.owner),
            "joint": None if others is None else turned_mean(others, family).tolist(),
            "correlation": None if others is None else _number(correlation(others, curves)),
            "correlation_own": None if own is None else _number(correlation(own, curves)),
        },
        "members": [
            {
                "unit": int(unit),
                "orientation": float(angle),
                "agreement": float(agreement),
                "real_correlation": None if others is None else _number(correlation(others[at], curves[at])),
                "curve": curves[at].tolist(),
                "real_curve": None if others is None else others[at].tolist(),
                "inputs": list(inputs[int(unit)]) if int(unit) in inputs else None,
            }
            for at, (unit, angle, agreement) in enumerate(
                zip(family.members, family.orientation, family.agreement, strict=True)
            )
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tuning_document(
    layer: str,
    model: Mapping[str, Any],
    responses: Artefact,
    families: Artefact,
    listed: Sequence[Mapping[str, Any]],
    inputs_layer: str | None,
) -> bytes:
    """`families.json` of a layer.

    Args: listed: the families shown, from `family_numbers`. inputs_layer: the layer of their inputs.
    """
    notes, of = families.notes, stimulus_set(responses.config["stimuli"])
    document = {
        "layer": layer,
        "inputs_layer": inputs_layer,
        "model": model_title(model),
        "num_units": notes["num_units"],
        "num_dead": notes["num_dead"],
        "num_oriented": notes["num_oriented"],
        "oriented": {"least_share": notes["least_share"], "least_swing": notes["least_swing"]},
        "min_agreement": families.config["min_agreement"],
        "null": {"quantile": notes["null_quantile"], "agreement": notes["null"]},
        "stimuli": {
            "orientations": of.orientations.tolist(),
            "shapes": [shape.name for shape in of.shapes],
            "looks": [look.name for look in of.looks],
            "stroke_width": of.stroke_width,
            "place": dict(responses.notes["place"]),
        },
        "families": listed,
        "provenance": {name: one["fingerprint"] for name, one in families.inputs.items()},
    }
    return (json.dumps(document, allow_nan=False, indent=1) + "\n").encode()


def units_csv(families: Artefact) -> bytes:
    """Every unit of the layer, a row each. Families count from 1; units without one have empty cells."""
    table = families.read().to_pylist()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    for row in table:
        is_member = row["family"] >= 0
        shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        shown["family"] = row["family"] + 1 if is_member else ""
        for name in ("orientation", "rotation", "agreement"):
            shown[name] = shown[name] if is_member else ""
        writer.writerow(shown)
    return text.getvalue().encode()
